"""EndpointSlices of Kubernetes (discovery.k8s.io/v1): a list, then a watch from its version on, for
each service. Within a cluster the service account says who we are; its files are read anew for each
request, because they are rotated."""
import os
import random
import urllib.parse

from .checked import check, field, objects
from .client import HttpError, Server, read_secret
from .endpoint import Endpoint, Invalid, join
from .follow import Feed, SourceError, all_or_invalid
from .options import BadOption, add_tls, parse_services, secret_needs_tls, tls_files

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
PAGE = 500  # slices of a list at once
MOST_PAGES = 100
WATCH_S = 300
_FAMILIES = ("IPv4", "IPv6", "FQDN")


class Expired(Exception):
    """The version that was asked for is too old: list again."""


def add_arguments(parser):
    parser.add_argument("--service", metavar="ROUTE=NAME[,KEY=VALUE]...", action="append",
                        required=True, help="repeatable; keys: namespace, port (its name in the "
                        "service, if that has several), family (IPv4 or IPv6), label.NAME")
    parser.add_argument("--namespace", metavar="NAME",
                        help="of services without one (default: the pod's)")
    parser.add_argument("--server", metavar="URL", help="of the API (default: the pod's)")
    parser.add_argument("--token-file", metavar="FILE",
                        help="default: the service account's, unless --cert-file is given")
    add_tls(parser)


def feeds(arguments):
    url, ca_file, token_file = arguments.server, arguments.ca_file, arguments.token_file
    if not url:
        host = os.environ.get("KUBERNETES_SERVICE_HOST")
        if not host:
            raise BadOption("--server is missing, and this is no pod")
        url = f"https://{f'[{host}]' if ':' in host else host}:" + os.environ.get(
            "KUBERNETES_SERVICE_PORT", "443")
        ca_file = ca_file or ACCOUNT + "/ca.crt"
        token_file = token_file or (None if arguments.cert_file else ACCOUNT + "/token")
    server = Server(url, ca_file, *tls_files(arguments)[1:])
    if token_file:
        secret_needs_tls("--token-file", [server])
    services = parse_services(arguments.service, one=("namespace", "port", "family"))
    for service in services:
        if service.one.get("family", "IPv4") not in _FAMILIES:
            raise BadOption(f"{service.text}: family is one of {', '.join(_FAMILIES)}")
    return [Service(service, server, token_file,
                    service.one.get("namespace") or arguments.namespace or _namespace())
            for service in services]


def _namespace():
    try:
        return read_secret(ACCOUNT + "/namespace")
    except SourceError:
        raise BadOption("--namespace is missing, and this is no pod") from None


class Service(Feed):
    def __init__(self, service, server, token_file, namespace):
        self.name = f"kubernetes {service.text}"
        self.routes = (service.route,)
        self._service, self._server, self._token_file = service, server, token_file
        self._path = ("/apis/discovery.k8s.io/v1/namespaces/" +
                      urllib.parse.quote(namespace, safe="") + "/endpointslices")
        self._selector = ("labelSelector", f"kubernetes.io/service-name={service.name}")

    def follow(self, report):
        try:
            version, slices = self._list()
            self._report(slices, report)
            while True:
                version = self._watch(version, slices, report)
                report.sleep(random.uniform(0, 1))  # feeders do not come back together
        except Expired:
            report.sleep(random.uniform(0, 1))
        except Invalid as invalid:
            raise SourceError(f"{self._server.name}: {self._service.name}: {invalid}") from None

    def _report(self, slices, report):
        view = all_or_invalid(self.endpoints, slices.values())
        if not isinstance(view, Invalid):
            view = [endpoint for of_slice in view for endpoint in of_slice]
        report.view({self._service.route: view}, expected_s=WATCH_S + 60)

    def _list(self):
        """(version, {name: slice}), all of one moment."""
        slices, token = {}, None
        for _ in range(MOST_PAGES):
            query = [self._selector, ("limit", str(PAGE))]
            with self._exchange(query + ([("continue", token)] if token else [])) as answer:
                said = answer.json()
            # A list that lacks its kind is something else's answer, not an empty list.
            if field(said, "kind", str) != "EndpointSliceList":
                raise Invalid(f"a {said['kind']} instead of a list")
            slices |= {_name(one): one for one in objects(said, "items")}
            metadata = field(said, "metadata", dict)
            token = field(metadata, "continue", str, "")
            if not token:
                return field(metadata, "resourceVersion", str), slices
        raise Invalid(f"a list of more than {MOST_PAGES} pages")

    def _watch(self, version, slices, report):
        """Reports each change to `slices`; the last version, when the server ends the watch."""
        query = [self._selector, ("watch", "1"), ("resourceVersion", version),
                 ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(WATCH_S))]
        try:
            return self._watch_events(query, version, slices, report)
        except HttpError as error:
            if error.status == 410:
                raise Expired from None
            raise

    def _watch_events(self, query, version, slices, report):
        # Past the end that was asked for the connection is dead.
        with self._exchange(query, silence_s=WATCH_S + 30) as answer:
            for event in answer.lines():
                kind, thing = field(event, "type", str), field(event, "object", dict)
                if kind == "ERROR":
                    if field(thing, "code", int, 0) == 410:
                        raise Expired
                    raise Invalid(f"the watch failed: {field(thing, 'message', str, kind)}")
                version = field(field(thing, "metadata", dict), "resourceVersion", str)
                if kind == "BOOKMARK":
                    report.alive(expected_s=WATCH_S + 60)
                    continue
                if kind in ("ADDED", "MODIFIED"):
                    slices[_name(thing)] = thing
                elif kind == "DELETED":
                    slices.pop(_name(thing), None)
                else:
                    raise Invalid(f"an event of type '{kind}'")
                self._report(slices, report)
        report.alive(expected_s=WATCH_S + 60)
        return version

    def _exchange(self, query, silence_s=30):
        headers = {"Accept": "application/json"}
        if self._token_file:
            headers["Authorization"] = "Bearer " + read_secret(self._token_file)
        return self._server.exchange("GET", self._path, query, headers, silence_s=silence_s)

    def endpoints(self, one):
        """Those of a slice."""
        family = field(one, "addressType", str)
        if family not in _FAMILIES:
            raise Invalid(f"addressType '{family}'")
        port = self._port(objects(one, "ports"))
        if port is None or family != self._service.one.get("family", family):
            return []
        return [self._endpoint(member, port) for member in objects(one, "endpoints")]

    def _port(self, ports):
        """The number of the port that was asked for; None: this slice has it not."""
        wanted = self._service.one.get("port")
        ports = [port for port in ports if field(port, "protocol", str, "TCP") == "TCP" and
                 wanted in (None, field(port, "name", str, ""))]
        if len(ports) > 1:
            raise Invalid("the service has several ports: say which, port=NAME")
        return field(ports[0], "port", int) if ports else None

    def _endpoint(self, member, port):
        # All addresses of an endpoint lead to the same, says the API: the first is enough.
        addresses = field(member, "addresses", list)
        if not addresses:
            raise Invalid("an endpoint has no address")
        conditions = field(member, "conditions", dict, {})
        # Unknown readiness counts as ready, and serving as readiness: so says the API.
        ready = field(conditions, "ready", bool, True)
        serving = field(conditions, "serving", bool, ready)
        terminating = field(conditions, "terminating", bool, False)
        state = "ready" if ready else "draining" if serving and terminating else "down"
        return Endpoint(join(check(addresses[0], str, "an address"), port), state=state,
                        **self._service.labels_with(zone=field(member, "zone", str, "")))


def _name(one):
    return field(field(one, "metadata", dict), "name", str)
