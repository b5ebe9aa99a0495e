"""One target of a route and what a discovery file says of it, by the rules that the gateway reads
it with (gateway/backends/target.cc, discovery.cc): what passes here is not refused there."""
import dataclasses
import ipaddress
import re
import socket

STATES = ("ready", "draining", "down")  # each more cautious than the one before
DEFAULT_WEIGHT, MAX_WEIGHT = 100, 65535
RESERVED = ("route", "weight", "state", "zone", "tls_name", "tls_id")

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)  # Prometheus takes no other
_SPIFFE_ID = re.compile(r"spiffe://[A-Za-z0-9._-]{1,255}(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+",
                        re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_VALUE_BYTES = 2048
MAX_UNIX_PATH_BYTES = 107


class Invalid(ValueError):
    """No endpoint, or no route, can be made of this. The text says why."""


def check_route(name):
    if not 1 <= _bytes(name, "a route's name") <= 255:
        raise Invalid("a route's name has 1 to 255 bytes")
    return name


def canonical_target(text):
    """`host:port`, `[v6]:port` or `unix:/path` in the gateway's spelling."""
    _bytes(text, "a target")
    if text.startswith("unix:"):
        return _unix(text)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise Invalid(f"'{text}': the port is missing")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise Invalid(f"'{text}': the port must be a number from 1 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise Invalid(f"'{text}': an IPv6 address must be in brackets, [::1]:80")
    return join(host, int(port))


def join(host, port):
    """The target of a host name or an address, in brackets or not, and a port."""
    _bytes(host, "a host")
    if type(port) is not int or not 1 <= port <= 65535:
        raise Invalid(f"'{host}': the port must be a number from 1 to 65535")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in host:
        return f"[{_ipv6(bare)}]:{port}"
    try:
        return f"{ipaddress.IPv4Address(host)}:{port}"
    except ValueError:
        return f"{_host_name(host.removesuffix('.'))}:{port}"


def _ipv6(text):
    # inet_ntop's spelling, which is the gateway's: an IPv4-mapped address keeps its dots.
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, text))
    except (OSError, ValueError):
        raise Invalid(f"'{text}' is no IPv6 address") from None


def _host_name(text):
    # No top-level domain is a number, so that is an IPv4 address with a mistake.
    if (len(text) > 253 or not _HOST.fullmatch(text) or text.rpartition(".")[2].isdigit()):
        raise Invalid(f"'{text}': neither an IP address nor a host name")
    return text.lower()


def _unix(text):
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise Invalid("the path of a unix socket must be absolute, unix:/path")
    if _bytes(path, "the path of a unix socket") > MAX_UNIX_PATH_BYTES:
        raise Invalid(f"the path of a unix socket has at most {MAX_UNIX_PATH_BYTES} bytes")
    return text


def _bytes(text, what):
    """The length of a printable string."""
    if type(text) is not str:
        raise Invalid(f"{what} must be a string")
    if _CONTROL.search(text):
        raise Invalid(f"{what} has control characters")
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        raise Invalid(f"{what} is no Unicode") from None


def check_label(name, value):
    """A label that an endpoint may have beside its weight and state."""
    if type(name) is not str or not _LABEL.fullmatch(name):
        raise Invalid(f"'{name}' is no name of a label")
    if _bytes(value, f"label {name}") > MAX_VALUE_BYTES:
        raise Invalid(f"label {name} has more than {MAX_VALUE_BYTES} bytes")
    if name == "tls_name" and value:
        _tls_name(value)
    if name == "tls_id" and value:
        _tls_id(value)


def _tls_name(value):
    if len(value) <= 253 and _HOST.fullmatch(value):
        return
    try:
        _ipv6(value[1:-1] if value.startswith("[") and value.endswith("]") else value)
    except Invalid:
        raise Invalid("tls_name must be a host name or an IP address") from None


def _tls_id(value):
    if value.startswith("dns:"):
        name = value.removeprefix("dns:")
        good = len(name) <= 253 and _HOST.fullmatch(name) and "_" not in name
    else:
        good = _SPIFFE_ID.fullmatch(value)
    if not good:
        raise Invalid("tls_id must be one identity: a SPIFFE ID, or dns: and a DNS name")


@dataclasses.dataclass(frozen=True, order=True)
class Endpoint:
    """A value; made only if it is valid, raises Invalid otherwise."""
    target: str
    weight: int = DEFAULT_WEIGHT  # 0-65535; 0 = no new connections
    state: str = "ready"
    zone: str = ""
    tls_name: str = ""
    tls_id: str = ""
    labels: tuple = ()  # free ones: sorted pairs of name and value

    def __post_init__(self):
        object.__setattr__(self, "target", canonical_target(self.target))
        if type(self.weight) is not int or not 0 <= self.weight <= MAX_WEIGHT:
            raise Invalid(f"'{self.target}': weight must be a number from 0 to {MAX_WEIGHT}")
        if self.state not in STATES:
            raise Invalid(f"'{self.target}': state must be one of {', '.join(STATES)}")
        for name, value in (("zone", self.zone), ("tls_name", self.tls_name),
                            ("tls_id", self.tls_id), *self.labels):
            check_label(name, value)
        for name, _ in self.labels:
            if name in RESERVED:
                raise Invalid(f"label {name} means something to the gateway")

    def label_set(self):
        """What a discovery file's group says of it, but for the route; defaults are left out."""
        labels = dict(self.labels)
        if self.weight != DEFAULT_WEIGHT:
            labels["weight"] = str(self.weight)
        if self.state != "ready":
            labels["state"] = self.state
        for name in ("zone", "tls_name", "tls_id"):
            if getattr(self, name):
                labels[name] = getattr(self, name)
        return labels


def from_label_set(target, labels):
    """The inverse of label_set(); `labels` has strings only and no route."""
    free = {name: value for name, value in labels.items() if name not in RESERVED}
    fixed = {name: labels[name] for name in ("state", "zone", "tls_name", "tls_id")
             if name in labels}
    weight = labels.get("weight", str(DEFAULT_WEIGHT))
    if not _PORT.fullmatch(weight):
        raise Invalid(f"'{target}': weight must be a number from 0 to {MAX_WEIGHT}")
    return Endpoint(target, weight=int(weight), labels=tuple(sorted(free.items())), **fixed)


def merge(endpoints):
    """Sorted, each target once. Of a target that is there twice the lowest weight and the most
    cautious state count; two identities of it contradict each other: Invalid."""
    merged = {}
    for endpoint in sorted(endpoints):
        first = merged.setdefault(endpoint.target, endpoint)
        if first is endpoint:
            continue
        if (first.tls_name, first.tls_id) != (endpoint.tls_name, endpoint.tls_id):
            raise Invalid(f"'{endpoint.target}' is there twice, with another tls_name or tls_id")
        merged[endpoint.target] = dataclasses.replace(
            first, weight=min(first.weight, endpoint.weight),
            state=max(first.state, endpoint.state, key=STATES.index))
    return tuple(merged.values())
