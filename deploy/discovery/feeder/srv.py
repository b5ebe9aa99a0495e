"""DNS SRV records (RFC 2782), asked for again when their TTL is over. Only this source needs
dnspython. The host names of the records are written as they are: the gateway resolves them."""
import ipaddress

import dns.exception
import dns.resolver

from .endpoint import DEFAULT_WEIGHT, MAX_WEIGHT, Endpoint, Invalid
from .follow import Feed, SourceError
from .options import BadOption, parse_services

LEAST_TTL_S, LONGEST_TTL_S = 1, 3600
LONGEST_NEGATIVE_TTL_S = 60
LIFETIME_S = 10  # of a question, over all servers and tries


def add_arguments(parser):
    parser.add_argument("--service", metavar="ROUTE=NAME[,KEY=VALUE]...", action="append",
                        required=True, help="repeatable; NAME such as _http._tcp.orders.example.org; "
                        "key: label.NAME")
    parser.add_argument("--server", metavar="ADDRESS[:PORT]", action="append",
                        help="a resolver; repeatable (default: those of /etc/resolv.conf)")
    parser.add_argument("--all-priorities", action="store_true",
                        help="records of every priority are ready, not only of the lowest number")


def feeds(arguments):
    servers = [_address(text) for text in arguments.server or ()]
    if len({address for address, _ in servers}) < len(servers):
        raise BadOption("--server: the same address twice")
    return [Name(service, servers, arguments.all_priorities)
            for service in parse_services(arguments.service)]


def _address(text):
    """(address, port)."""
    host, colon, port = text.rpartition(":")
    if not colon or text.count(":") > 1 and not host.endswith("]"):
        host, port = text, "53"
    try:
        address = str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]")))
        if 1 <= int(port) <= 65535:
            return address, int(port)
    except ValueError:
        pass
    raise BadOption(f"--server {text}: is no address of a resolver")


class Name(Feed):
    def __init__(self, service, servers, all_priorities):
        self.name = f"srv {service.text}"
        self.routes = (service.route,)
        self._service, self._servers, self._all = service, servers, all_priorities

    def follow(self, report):
        try:
            records, ttl_s = self._ask()
        except dns.resolver.LifetimeTimeout:  # its text differs each time
            raise SourceError(f"{self._service.name}: no answer in {LIFETIME_S} s") from None
        except (dns.exception.DNSException, OSError) as error:
            raise SourceError(f"{self._service.name}: {error}") from error
        try:
            view = self.endpoints(records)
        except Invalid as invalid:
            view = invalid
        report.view({self._service.route: view}, expected_s=ttl_s + 60)
        report.sleep(ttl_s)

    def _ask(self):
        """(records, seconds that they are good for). That there are none is an answer; that no
        server could say is an exception."""
        # Made anew, because resolv.conf may have changed; without a cache of its own.
        resolver = dns.resolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [address for address, _ in self._servers]
            resolver.nameserver_ports = dict(self._servers)
        try:
            answer = resolver.resolve(self._service.name.rstrip(".") + ".", "SRV", search=False,
                                      raise_on_no_answer=False, lifetime=LIFETIME_S)
        except dns.resolver.NXDOMAIN as negative:
            [response] = negative.responses().values()
            return [], _bounded(response.resolve_chaining().minimum_ttl, LONGEST_NEGATIVE_TTL_S)
        found = answer.chaining_result
        if answer.rrset is None:
            return [], _bounded(found.minimum_ttl, LONGEST_NEGATIVE_TTL_S)
        return list(answer.rrset), _bounded(found.minimum_ttl, LONGEST_TTL_S)

    def endpoints(self, records):
        # The root as the only target says that the service is decidedly not there.
        records = [record for record in records if record.target.to_text() != "."]
        view = {}
        for priority in sorted({record.priority for record in records}):
            alike = [record for record in records if record.priority == priority]
            state = "ready" if self._all or not view else "down"
            weights = _weights([record.weight for record in alike])
            for record, weight in zip(alike, weights):
                target = f"{record.target.to_text(omit_final_dot=True)}:{record.port}"
                # One of two priorities has the better one.
                view.setdefault(target, Endpoint(target, weight=weight, state=state,
                                                 **self._service.labels_with()))
        return list(view.values())


def _bounded(ttl_s, longest_s):
    return min(max(ttl_s, LEAST_TTL_S), longest_s)


def _weights(weights):
    """Zero means "no choice to be made" where all have it, and "seldom" beside others (RFC 2782);
    to the gateway it would mean "never"."""
    if 0 not in weights:
        return weights
    if not any(weights):
        return [DEFAULT_WEIGHT] * len(weights)
    scale = max(1, min(100, MAX_WEIGHT // max(weights)))
    return [weight * scale or 1 for weight in weights]
