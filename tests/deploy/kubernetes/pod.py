"""What the kubelet makes of a pod's volumes, on this machine: files behind the link ..data, with the
modes and the group that the pod asks for."""
import os
import pathlib

ROOT_USER = 0


class Volumes:
    """The volumes of a pod, as folders below `folder`, named as in the pod. `objects` are the manifests
    beside it; `given` has what is none of theirs, by (kind, name): {key: text}."""

    def __init__(self, folder, pod, objects, given):
        self._folder = pathlib.Path(folder)
        self._pod, self._given = pod, dict(given)
        self._turn = 0
        for item in objects:
            if item["kind"] == "ConfigMap":
                self._given[("configMap", item["metadata"]["name"])] = item["data"]
        self._group = pod["securityContext"]["fsGroup"]
        for volume in pod["volumes"]:
            self.update(volume["name"])

    def path(self, name):
        return self._folder / name

    def give(self, kind, name, content):
        self._given[(kind, name)] = content

    def update(self, name):
        """The newest content of a volume, all of it at once."""
        [volume] = [each for each in self._pod["volumes"] if each["name"] == name]
        path = self.path(name)
        if not path.exists():
            path.mkdir()
            self._own(path, 0o3777)
        if "emptyDir" in volume:
            return
        self._turn += 1
        data = path / f"..{self._turn}"
        data.mkdir()
        for file, (text, mode) in self._files(volume).items():
            (data / file).write_text(text)
            # A group that a volume has may read it, whatever the mode says.
            self._own(data / file, mode | 0o440)
            if not (path / file).is_symlink():
                (path / file).symlink_to(f"..data/{file}")
        self._own(data, 0o2755)
        (path / "..data.new").symlink_to(data.name)
        (path / "..data.new").rename(path / "..data")

    def _own(self, path, mode):
        if os.geteuid() == ROOT_USER:
            os.chown(path, ROOT_USER, self._group)
        path.chmod(mode)

    def _files(self, volume):
        if "configMap" in volume:
            source = volume["configMap"]
            return self._items("configMap", source["name"], source, source.get("defaultMode", 0o644))
        if "secret" in volume:
            source = volume["secret"]
            return self._items("secret", source["secretName"], source, source.get("defaultMode", 0o644))
        projected = volume["projected"]
        mode = projected.get("defaultMode", 0o644)
        files = {}
        for source in projected["sources"]:
            [(kind, source)] = source.items()
            if kind in ("configMap", "secret"):
                files |= self._items(kind, source["name"], source, mode)
            elif kind == "podCertificate":
                files[source["credentialBundlePath"]] = self._given[(kind, source["signerName"])]["bundle"], mode
            elif kind == "clusterTrustBundle":
                files[source["path"]] = self._given[(kind, source["signerName"])]["roots"], mode
            else:
                assert kind in ("serviceAccountToken", "downwardAPI"), kind
        return files

    def _items(self, kind, name, source, mode):
        content = self._given[(kind, name)]
        items = source.get("items") or [{"key": key, "path": key} for key in content]
        return {item["path"]: (content[item["key"]], item.get("mode", mode)) for item in items}


def arguments(container, volumes):
    """The container's arguments, with the places where its volumes are on this machine."""
    found = list(container["args"])
    for mount in container["volumeMounts"]:
        path = mount["mountPath"]
        for before in "=", ":":
            found = [each.replace(f"{before}{path}/", f"{before}{volumes.path(mount['name'])}/")
                     for each in found]
    return found


def as_user(pod, container):
    """The command that becomes the container's user, where this one may do that."""
    if os.geteuid() != ROOT_USER:
        return []
    settings = pod["securityContext"] | container.get("securityContext", {})
    user, group = settings["runAsUser"], settings.get("runAsGroup", 0)
    return ["setpriv", f"--reuid={user}", f"--regid={group}", f"--groups={pod['securityContext']['fsGroup']}"]
