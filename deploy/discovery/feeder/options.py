"""What the command lines of several sources have in common."""
import dataclasses
import re

from .endpoint import Endpoint, Invalid, check_route

_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m|h)", re.ASCII)
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


class BadOption(Exception):
    """A command line that cannot be carried out. The text says why."""


def duration_s(text):
    """`500ms`, `10s`, `5m`, `1h`; ValueError otherwise, as argparse wants it."""
    match = _DURATION.fullmatch(text)
    if not match or not int(match[1]):
        raise ValueError("no duration")
    return int(match[1]) * _UNIT_S[match[2]]


duration_s.__name__ = "duration"  # in argparse's words


def percent(text):
    value = int(text)
    if not 0 <= value <= 100:
        raise ValueError("no percentage")
    return value


def add_tls(parser):
    parser.add_argument("--ca-file", metavar="FILE",
                        help="certificate authorities, PEM (default: the system's)")
    parser.add_argument("--cert-file", metavar="FILE", help="our certificate and chain, PEM")
    parser.add_argument("--key-file", metavar="FILE", help="its key, PEM")


def tls_files(arguments):
    if bool(arguments.cert_file) != bool(arguments.key_file):
        raise BadOption("--cert-file and --key-file go together")
    return arguments.ca_file, arguments.cert_file, arguments.key_file


def secret_needs_tls(option, servers):
    for server in servers:
        if not server.keeps_secrets():
            raise BadOption(f"{option}: {server.name} is neither https nor this machine")


@dataclasses.dataclass
class Service:
    """`ROUTE=NAME[,KEY=VALUE]...`: which service feeds a route."""
    text: str
    route: str
    name: str
    one: dict = dataclasses.field(default_factory=dict)     # by key
    many: dict = dataclasses.field(default_factory=dict)    # lists by key
    labels: dict = dataclasses.field(default_factory=dict)  # of each of its endpoints

    def labels_with(self, zone=""):
        """Arguments for Endpoint: these labels before what the source says."""
        free = dict(self.labels)
        fixed = {name: free.pop(name, "") for name in ("zone", "tls_name", "tls_id")}
        fixed["zone"] = fixed["zone"] or zone
        return fixed | {"labels": tuple(sorted(free.items()))}


def parse_services(texts, one=(), many=()):
    """Services, of whose keys `one` are given once and `many` repeatedly. Raises BadOption."""
    if len(set(texts)) < len(texts):
        raise BadOption("the same --service twice")
    return [_service(text, one, many) for text in texts]


def _service(text, one, many):
    head, *rest = text.split(",")
    route, equals, name = head.partition("=")
    if not equals or not name:
        raise BadOption(f"--service {text}: is not ROUTE=NAME[,KEY=VALUE]...")
    service = Service(text, route, name, many={key: [] for key in many})
    for item in rest:
        key, equals, value = item.partition("=")
        label = key.removeprefix("label.")
        if not equals or not value:
            raise BadOption(f"--service {text}: '{item}' is not KEY=VALUE")
        if key in many:
            service.many[key].append(value)
        elif key in service.one or label in service.labels:
            raise BadOption(f"--service {text}: {key} is given twice")
        elif key in one:
            service.one[key] = value
        elif key != label:
            service.labels[label] = value
        else:
            raise BadOption(f"--service {text}: no key '{key}'")
    try:
        check_route(route)
        Endpoint("unix:/", **service.labels_with())
    except Invalid as invalid:
        raise BadOption(f"--service {text}: {invalid}") from None
    return service
