"""Reads manifests strictly: what Debian's python3-kubernetes knows of the API, every key and type, and
beside it what is newer than that package, or defined by an operator."""
import kubernetes.client
import yaml

# The release of Kubernetes that brought the field, and what is in it.
NEWER = {
    ("V1Container", "restartPolicy"): ("1.29", "str"),
    ("V1TopologySpreadConstraint", "matchLabelKeys"): ("1.27", "list[str]"),
    ("V1PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"): ("1.27", "str"),
    ("V1LifecycleHandler", "sleep"): ("1.30", {"seconds": "int"}),
    ("V1Handler", "sleep"): ("1.30", {"seconds": "int"}),
    ("V1VolumeProjection", "clusterTrustBundle"): (
        "1.33", {"signerName": "str", "labelSelector": "V1LabelSelector", "path": "str"}),
    ("V1VolumeProjection", "podCertificate"): (
        "1.35", {"signerName": "str", "keyType": "str", "credentialBundlePath": "str"}),
}
# Of operators: every key is required here.
CUSTOM = {
    ("cert-manager.io/v1", "Certificate"): {
        "secretName": "str", "additionalOutputFormats": [{"type": "str"}], "dnsNames": "list[str]",
        "uris": "list[str]", "usages": "list[str]",
        "privateKey": {"algorithm": "str", "size": "int", "rotationPolicy": "str"},
        "duration": "str", "renewBefore": "str",
        "issuerRef": {"group": "str", "kind": "str", "name": "str"}},
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector": "V1LabelSelector",
        "podMetricsEndpoints": [{"port": "str", "path": "str", "interval": "str"}]},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups": "list[object]"},
}
PLAIN = {"str": str, "int": int, "bool": bool}


class Wrong(Exception):
    pass


def check(value, kind, where, partial=False):
    """Raises Wrong where the value is not of that kind. `partial`: required keys may be missing."""
    if isinstance(kind, list):
        kind = kind[0]
        if not isinstance(value, list):
            raise Wrong(f"{where}: no list")
        for index, each in enumerate(value):
            check(each, kind, f"{where}[{index}]", partial)
    elif isinstance(kind, dict):
        if not isinstance(value, dict) or set(value) != set(kind):
            raise Wrong(f"{where}: has {value}, not {sorted(kind)}")
        for key, each in value.items():
            check(each, kind[key], f"{where}.{key}", partial)
    elif kind in PLAIN:
        if type(value) is not PLAIN[kind]:
            raise Wrong(f"{where}: {value!r} is not {kind}")
    elif kind.startswith("list["):
        check(value, [kind[5:-1]], where, partial)
    elif kind.startswith("dict("):
        element = kind[5:-1].split(", ")[1]
        if not isinstance(value, dict):
            raise Wrong(f"{where}: no map")
        for key, each in value.items():
            check(key, "str", where)
            check(each, element, f"{where}.{key}", partial)
    elif kind != "object":
        check_model(value, kind, where, partial)


def check_model(value, kind, where, partial):
    model = getattr(kubernetes.client, kind)
    names = {json: python for python, json in model.attribute_map.items()}
    if not isinstance(value, dict):
        raise Wrong(f"{where}: {value!r} is no {kind}")
    known = {}
    for key, each in value.items():
        if key in names:
            known[names[key]] = each
            check(each, model.openapi_types[names[key]], f"{where}.{key}", partial)
        elif (kind, key) in NEWER:
            check(each, NEWER[kind, key][1], f"{where}.{key}", partial)
        else:
            raise Wrong(f"{where}: {kind} has no {key}")
    if not partial:
        try:
            model(**known)
        except ValueError as missing:
            raise Wrong(f"{where}: {missing}") from None


def check_object(item, partial=False):
    """Of one manifest."""
    version, kind = item["apiVersion"], item["kind"]
    where = f"{kind} {item['metadata']['name']}"
    if (version, kind) in CUSTOM:
        if set(item) != {"apiVersion", "kind", "metadata", "spec"}:
            raise Wrong(f"{where}: has {sorted(item)}")
        check(item["metadata"], "V1ObjectMeta", where)
        check(item["spec"], CUSTOM[version, kind], where)
    else:
        model = version.split("/")[-1].capitalize() + kind
        if not hasattr(kubernetes.client, model):
            raise Wrong(f"{where}: no {version} {kind}")
        check(item, model, where, partial)


def load(text):
    """The objects of a text with several."""
    return [item for item in yaml.safe_load_all(text) if item]
