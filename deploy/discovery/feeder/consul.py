"""Consul's health endpoint, by blocking queries: one for each service. All instances are asked for,
not only the passing ones: one that fails its checks keeps its connections."""
import random
import urllib.parse

from .checked import check, field, objects
from .client import Server, read_secret
from .endpoint import Endpoint, Invalid, join
from .follow import Feed, SourceError, all_or_invalid
from .options import BadOption, add_tls, parse_services, secret_needs_tls, tls_files

WAIT_S = 60
LEAST_INTERVAL_S = 0.2  # an index may go up many times without a change to the service


def add_arguments(parser):
    parser.add_argument("--server", metavar="URL", default="http://127.0.0.1:8500",
                        help="of the agent (default %(default)s)")
    parser.add_argument("--service", metavar="ROUTE=NAME[,KEY=VALUE]...", action="append",
                        required=True, help="repeatable; keys: tag (repeatable), datacenter, "
                        "namespace, partition, label.NAME")
    parser.add_argument("--zone-from", metavar="WHAT", default="",
                        help="datacenter, or node-meta:KEY")
    parser.add_argument("--token-file", metavar="FILE", help="an ACL token")
    add_tls(parser)


def feeds(arguments):
    if arguments.zone_from not in ("", "datacenter") and not (
            arguments.zone_from.startswith("node-meta:")):
        raise BadOption("--zone-from is datacenter or node-meta:KEY")
    server = Server(arguments.server, *tls_files(arguments))
    if arguments.token_file:
        secret_needs_tls("--token-file", [server])
    services = parse_services(arguments.service, many=("tag",),
                              one=("datacenter", "namespace", "partition"))
    return [Service(service, server, arguments.token_file, arguments.zone_from)
            for service in services]


class Service(Feed):
    def __init__(self, service, server, token_file, zone_from):
        self.name = f"consul {service.text}"
        self.routes = (service.route,)
        self._service, self._server = service, server
        self._token_file, self._zone_from = token_file, zone_from
        self._index = 0

    def follow(self, report):
        query = [("tag", tag) for tag in self._service.many["tag"]]
        query += [(name, self._service.one[key])
                  for name, key in (("dc", "datacenter"), ("ns", "namespace"),
                                    ("partition", "partition")) if key in self._service.one]
        if self._index:
            query += [("index", str(self._index)), ("wait", f"{WAIT_S}s")]
        headers = {"X-Consul-Token": read_secret(self._token_file)} if self._token_file else {}
        try:
            # The agent adds up to a sixteenth to the time that it waits.
            with self._server.exchange("GET", "/v1/health/service/" +
                                       urllib.parse.quote(self._service.name, safe=""), query,
                                       headers, silence_s=WAIT_S * 1.1 + 10) as answer:
                said, index = answer.json(), answer.headers.get("X-Consul-Index", "")
                filtered = answer.headers.get("X-Consul-Results-Filtered-By-ACLs", "false")
            # What a token may not read is left out of an answer that is good otherwise.
            if filtered != "false":
                raise Invalid("the token may not read all of it")
            if not index.isascii() or not index.isdigit() or len(index) > 20:
                raise Invalid("the answer has no X-Consul-Index")
            instances = [check(one, dict, "an instance")
                         for one in check(said, list, "the answer")]
        except Invalid as invalid:
            self._index = 0
            raise SourceError(f"{self._server.name}: {self._service.name}: {invalid}") from None
        except SourceError:
            self._index = 0
            raise
        # One that goes backwards was restored or belongs to another leader: begin anew. Zero would
        # not block.
        went_back = int(index) < self._index
        self._index = 0 if went_back else max(1, int(index))
        report.view({self._service.route: all_or_invalid(self.endpoint, instances)},
                    expected_s=2 * WAIT_S)
        report.sleep(LEAST_INTERVAL_S * random.uniform(1, 2))

    def endpoint(self, instance):
        node, service = field(instance, "Node", dict), field(instance, "Service", dict)
        checks = objects(instance, "Checks")
        statuses = {field(one, "Status", str) for one in checks}
        if not statuses <= {"passing", "warning", "critical"}:
            raise Invalid(f"a check has another status: {', '.join(sorted(statuses))}")
        weights = field(service, "Weights", dict, {})
        weight = field(weights, "Warning" if "warning" in statuses else "Passing", int, 1)
        state = "down" if "critical" in statuses else "ready"
        # Maintenance is a critical check of its own.
        if any(_is_maintenance(field(one, "CheckID", str, "")) for one in checks):
            state = "draining"
        host = field(service, "Address", str, "") or field(node, "Address", str)
        return Endpoint(join(host, field(service, "Port", int)), weight=weight, state=state,
                        **self._service.labels_with(zone=self._zone(node)))

    def _zone(self, node):
        if self._zone_from == "datacenter":
            return field(node, "Datacenter", str, "")
        if self._zone_from:
            key = self._zone_from.removeprefix("node-meta:")
            return field(field(node, "Meta", dict, {}), key, str, "")
        return ""


def _is_maintenance(check_id):
    return check_id == "_node_maintenance" or check_id.startswith("_service_maintenance:")
