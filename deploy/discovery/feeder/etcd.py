"""etcd 3.4 and newer, by the JSON form of its API (grpc-gateway, /v3/).

Key PREFIX/ROUTE/ANYTHING, value `host:port` or a JSON object. A service puts its key under a lease
and keeps that alive: when it crashes, the lease runs out and the key is gone.

Each time following begins, the prefix is read whole and watched from the revision after that, so
that nothing is missed and a compaction costs one more read. A watch that is silent for a while is
given up for the same reason: the read goes through the leader, and a member that has lost the others
cannot answer it."""
import base64
import binascii
import collections
import functools
import json
import random

from .checked import check, field, objects, parse_json
from .client import Server, Silence, read_secret
from .endpoint import DEFAULT_WEIGHT, Endpoint, Invalid, check_route
from .follow import Feed, SourceError
from .options import BadOption, add_tls, secret_needs_tls, tls_files

SILENCE_S = 60
_VALUE_KEYS = {"target", "weight", "state", "zone", "tls_name", "tls_id", "labels"}


def add_arguments(parser):
    parser.add_argument("--endpoint", metavar="URL", action="append", required=True,
                        help="http(s)://HOST:PORT of a member; repeatable: the next one is taken "
                             "when one fails")
    parser.add_argument("--prefix", metavar="KEY", default="/sallyport/",
                        help="ends with a slash (default %(default)s)")
    parser.add_argument("--allow-unix", action="store_true",
                        help="take unix: targets, sockets of the gateway's machine")
    parser.add_argument("--user", metavar="NAME", help="with --password-file")
    parser.add_argument("--password-file", metavar="FILE")
    add_tls(parser)


def feeds(arguments):
    if not arguments.prefix.endswith("/"):
        raise BadOption("--prefix must end with a slash")
    if bool(arguments.user) != bool(arguments.password_file):
        raise BadOption("--user and --password-file go together")
    servers = [Server(url, *tls_files(arguments)) for url in arguments.endpoint]
    if arguments.password_file:
        secret_needs_tls("--password-file", servers)
    return [Prefix(arguments.prefix, servers, arguments.user, arguments.password_file,
                   arguments.allow_unix)]


@functools.lru_cache(1 << 16)  # each change shows all keys again
def endpoint_of(value):
    """The endpoint that a key's value describes; raises Invalid."""
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        raise Invalid("is not UTF-8") from None
    if not text.startswith("{"):
        return Endpoint(text)
    members = parse_json(text)
    for key in members:
        if key not in _VALUE_KEYS:
            raise Invalid(f"unknown key '{key}'")
    labels = field(members, "labels", dict, {})
    return Endpoint(field(members, "target", str),
                    weight=field(members, "weight", int, DEFAULT_WEIGHT),
                    state=field(members, "state", str, "ready"),
                    zone=field(members, "zone", str, ""),
                    tls_name=field(members, "tls_name", str, ""),
                    tls_id=field(members, "tls_id", str, ""),
                    labels=tuple(sorted((name, check(text, str, f"label {name}"))
                                        for name, text in labels.items())))


class Prefix(Feed):
    routes = None

    def __init__(self, prefix, servers, user=None, password_file=None, allow_unix=False):
        self.name = f"etcd {prefix}"
        self._prefix, self._servers = prefix.encode(), collections.deque(servers)
        self._user, self._password_file = user, password_file
        self._allow_unix = allow_unix
        self._token = None

    def follow(self, report):
        # A token is for one read and its watch: it lapses when it is not used.
        self._token = None
        try:
            revision, values = self._read()
            self._report(values, report)
            self._watch(revision + 1, values, report)
        except (SourceError, Invalid) as error:
            name = self._servers[0].name
            self._servers.rotate(-1)
            if isinstance(error, Invalid):
                raise SourceError(f"{name}: {error}") from None
            raise

    def _report(self, values, report):
        routes, strays = self.view(values)
        notice = f"{len(strays)} keys are of no route, such as {strays[0]}" if strays else None
        report.view(routes, expected_s=2 * SILENCE_S, notice=notice)

    def view(self, values):
        """({route: endpoints or Invalid}, keys of no route) of {key: value}, in bytes. What is wrong
        in one value holds up its route and no other."""
        routes, strays = {}, []
        for key, value in sorted(values.items()):
            text = key.decode(errors="backslashreplace")
            try:
                route = self._route(key)
            except (UnicodeDecodeError, Invalid):
                strays.append(text)
                continue
            try:
                endpoint = endpoint_of(value)
                # Who may write a key is not therefore trusted with what listens on this machine.
                if endpoint.target.startswith("unix:") and not self._allow_unix:
                    raise Invalid("a unix socket, which --allow-unix would take")
            except Invalid as invalid:
                routes[route] = Invalid(f"key {text}: {invalid}")
            else:
                if not isinstance(routes.setdefault(route, []), Invalid):
                    routes[route].append(endpoint)
        return routes, strays

    def _route(self, key):
        route, slash, rest = key.removeprefix(self._prefix).partition(b"/")
        if not slash or not rest:
            raise Invalid("is not PREFIX/ROUTE/ANYTHING")
        return check_route(route.decode())

    def _read(self):
        """(revision, {key: value}) of the prefix."""
        with self._exchange("/v3/kv/range", self._range()) as answer:
            said = answer.json()
        if field(said, "more", bool, False):
            raise Invalid("the range is not complete")
        return (_number(field(said, "header", dict), "revision"),
                {_bytes(item, "key"): _bytes(item, "value") for item in objects(said, "kvs")})

    def _watch(self, revision, values, report):
        """Reports each change until the stream ends."""
        request = {"create_request": self._range() | {"start_revision": str(revision)}}
        # Not all feeders at once.
        silence_s = SILENCE_S * random.uniform(0.75, 1)
        try:
            with self._exchange("/v3/watch", request, silence_s) as answer:
                for line in answer.lines():
                    if "error" in check(line, dict, "a line of the watch"):
                        raise Invalid(f"the watch failed: {json.dumps(line['error'])}")
                    said = field(line, "result", dict)
                    if _number(said, "compact_revision"):
                        # What lies between is compacted: the next read has it all.
                        return report.sleep(random.uniform(0, 1))
                    if field(said, "canceled", bool, False):
                        raise Invalid("the watch was cancelled: " +
                                      field(said, "cancel_reason", str, "no reason given"))
                    events = objects(said, "events")
                    for event in events:
                        _apply(event, values)
                    if events:
                        self._report(values, report)
        except Silence:
            return
        raise Invalid("the watch has ended")

    def _range(self):
        # The first key behind all that begin with the prefix, which ends with a slash.
        end = self._prefix[:-1] + bytes([self._prefix[-1] + 1])
        return {"key": base64.b64encode(self._prefix).decode(),
                "range_end": base64.b64encode(end).decode()}

    def _exchange(self, path, body, silence_s=30):
        headers = {"Content-Type": "application/json"}
        if self._user:
            headers["Authorization"] = self._token = self._token or self._authenticate()
        return self._servers[0].exchange("POST", path, headers=headers, body=json.dumps(body),
                                         silence_s=silence_s)

    def _authenticate(self):
        body = json.dumps({"name": self._user, "password": read_secret(self._password_file)})
        with self._servers[0].exchange("POST", "/v3/auth/authenticate", body=body,
                                       headers={"Content-Type": "application/json"}) as answer:
            token = field(answer.json(), "token", str)
        if not token.isascii() or not token.isprintable():
            raise Invalid("the token is no text for a header")
        return token


def _apply(event, values):
    kind, pair = field(event, "type", str, "PUT"), field(event, "kv", dict)
    if kind == "PUT":
        values[_bytes(pair, "key")] = _bytes(pair, "value")
    elif kind == "DELETE":
        values.pop(_bytes(pair, "key"), None)
    else:
        raise Invalid(f"an event of type '{kind}'")


def _bytes(members, name):
    """Base64, as the JSON form has bytes; what is empty is left out there."""
    try:
        return base64.b64decode(field(members, name, str, ""), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"'{name}' is not base64") from None


def _number(members, name):
    """A 64-bit number is a string there; zero is left out."""
    text = field(members, name, str, "0")
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise Invalid(f"'{name}' is no number")
    return int(text)
