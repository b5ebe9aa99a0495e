"""What is measured: the load to run, the number to take out of its report, and what is promised of it.
Less is better everywhere."""
import dataclasses

from comparison.legs import IN, LEGS

OURS = "sallyport"
BEST_OF = ("haproxy", "nginx", "hitch")  # stunnel and the plain relay are shown beside them
FLOOR = "plain"
HELD = 10000  # idle connections, where not said otherwise


@dataclasses.dataclass
class Target:
    """`against`: what of ours is limited. "best peer": the ratio to the best peer for the figure;
    "floor": the ratio to the floor; "itself": the figure. `limit`: a number, or one by release of
    Debian, since it is OpenSSL's version that decides a handshake."""
    against: str
    limit: object

    def limit_on(self, debian):
        if not isinstance(self.limit, dict):
            return self.limit
        return self.limit.get(debian)


@dataclasses.dataclass
class Figure:
    name: str
    title: str          # {held}: connections that are held meanwhile
    unit: str
    load: list          # mode and flags of sallyport-load; figures with the same share one run
    value: tuple        # path of the number in the report
    kind: str = "timed"  # timed | bulk | idle | held (comparison/held.py)
    realtime: bool = False  # latencies: keep the generator's own wait for its core out of them
    divide_by: tuple = ()   # path of a number: the figure is a ratio within the run
    targets: tuple = ()
    crypto: tuple = None    # what of mode `crypto` the floor holds beside the plain relay
    relay: str = ""         # figure whose plain relay the floor holds, where it is not this one
    ours_only: bool = False
    needs_tls: bool = False  # the plain relay has nothing like it
    min_tls: str = "1.3"     # that the contenders allow
    client: str = ""         # TLS of the load generator, where not the one asked for
    legs: object = IN        # what the hop is

    @property
    def of_connections(self):
        """Whether a unit of work is a connection."""
        return self.load[0] in ("handshake", "resumed")

    def value_of(self, report):
        value = at(report, self.value)
        return value / at(report, self.divide_by) if self.divide_by else value


def at(report, path):
    for key in path:
        report = report[key]
    return report


def best(limit):
    return Target("best peer", limit)


def floor(limit):
    return Target("floor", limit)


def itself(limit):
    return Target("itself", limit)


def timed(name, title, unit, load, *value, **more):
    return Figure(name, title, unit, load, value, **more)


def bulk(name, title, mode, connections, **more):
    return Figure(name, title, "CPU s", [mode, "--connections", str(connections)],
                  ("cpu_s_per_gb",), "bulk", **more)


def terminated(name, title, mode, connections, crypto):
    """Bulk of a hop that has TLS with the client alone, which has a floor."""
    return bulk(name, title, mode, connections, targets=(best(0.75), floor(1.15)), crypto=(crypto,))


def held(name, title, unit, *value, **more):
    return Figure(name, title, unit, ["held"], value, "held", ours_only=True, **more)


def waited(name, title, load, **more):
    """Median and p99 of what a client waits, both of one run."""
    return [timed(f"{name}_{percentile}", f"{title}, {word}", "µs", load, "latency_us", percentile,
                  realtime=True, targets=(best(limit),), **more)
            for percentile, word, limit in (("p50", "median", 1.10), ("p99", "p99", 1.5))]


def first_byte(name, title, load, **more):
    """One client's time from connect to the byte that came back, with TCP_NODELAY and without."""
    load = load + ["--connections", "1"]
    title = f"connect to first byte, {title}, client with"
    more["needs_tls"] = True
    return (waited(f"first_byte_{name}_nodelay", f"{title} TCP_NODELAY", load, **more) +
            waited(f"first_byte_{name}_nagle", f"{title} Nagle's algorithm", load + ["--nagle"],
                   **more))


def closed_loop(connections, title):
    return waited(f"request{connections}", f"1 KiB request and response, {title}, closed loop",
                  ["request", "--connections", str(connections)])


def between(legs, word, client=""):
    """What a connection, a GB, a request and one that is idle cost where the backend leg has mutual
    TLS, too. `legs`: of LEGS, that with resumption; `word`: what the legs are. A connection is a full
    handshake with the client in either case."""
    def on(suffix, **targets):
        return dict(legs=LEGS[legs + suffix], client=client, **targets)
    per_connection = (best({"12": 0.60, "13": 0.80}),)
    yield timed(f"{legs}_full", f"connection, {word}, full handshake with the backend", "µs CPU",
                ["handshake"] + HANDSHAKES, "cpu_us_per_handshake",
                **on("_full", targets=per_connection))
    yield timed(f"{legs}_resumed", f"connection, {word}, resumed with the backend", "µs CPU",
                ["handshake"] + HANDSHAKES, "cpu_us_per_handshake", **on("", targets=per_connection))
    for suffix, how in (("_full", "full"), ("", "resumed")):
        yield from waited(f"first_byte_{legs}_{how}",
                          f"connect to first byte, {word}, {how} with the backend",
                          ["handshake", "--connections", "1"], **on(suffix))
    for mode, way in (("download", "to"), ("upload", "from")):
        yield bulk(f"{legs}_{mode}1", f"GB {way} the client, 1 connection, {word}", mode, 1,
                   **on("", targets=(best(0.75),)))
    yield timed(f"{legs}_request", f"1 KiB request and response, 64 connections, {word}", "µs CPU",
                ["request"] + REQUESTS, "cpu_us_per_request", **on("", targets=(best(0.90),)))


HANDSHAKES = ["--connections", "64"]
REQUESTS = ["--connections", "64"]
FIXED_RATE = REQUESTS + ["--rate", "7000"]
STORM = ["storm"] + FIXED_RATE

FIGURES = {figure.name: figure for figure in (
    timed("handshake", "full mTLS handshake", "µs CPU", ["handshake"] + HANDSHAKES,
          "cpu_us_per_handshake", targets=(best({"12": 0.45, "13": 0.60}),),
          crypto=("full_handshake_us",)),
    timed("resumed", "resumed handshake", "µs CPU", ["resumed"] + HANDSHAKES,
          "cpu_us_per_handshake", targets=(best({"12": 0.45, "13": 0.60}),),
          crypto=("resumed_handshake_us",), relay="handshake", needs_tls=True),
    *first_byte("full", "TLS 1.3", ["handshake"]),
    *first_byte("resumed", "TLS 1.3 resumed", ["resumed"]),
    *first_byte("tls12", "TLS 1.2", ["handshake", "--tls12"], min_tls="1.2", client="openssl"),
    terminated("download1", "GB to the client, 1 connection", "download", 1, "seal_cpu_s_per_gb"),
    terminated("download8", "GB to the client, 8 connections", "download", 8, "seal_cpu_s_per_gb"),
    terminated("upload1", "GB from the client, 1 connection", "upload", 1, "open_cpu_s_per_gb"),
    terminated("upload8", "GB from the client, 8 connections", "upload", 8, "open_cpu_s_per_gb"),
    timed("request", "1 KiB request and response, 64 connections", "µs CPU",
          ["request"] + REQUESTS, "cpu_us_per_request", targets=(best(0.75), floor(1.25)),
          crypto=()),
    *closed_loop(1, "1 connection"),
    *closed_loop(8, "8 connections"),
    timed("p99", "p99 at 7,000 requests/s", "µs", ["request"] + FIXED_RATE,
          "latency_us", "p99", realtime=True, targets=(best(0.75),)),
    timed("storm", "p99 at 7,000 requests/s beside a handshake storm", "µs", STORM,
          "storm_latency_us", "p99", realtime=True, targets=(best(0.5),)),
    Figure("storm_growth", "p99 beside that storm / p99 before it", "ratio", STORM,
           ("storm_latency_us", "p99"), realtime=True, divide_by=("quiet_latency_us", "p99"),
           targets=(itself(2),)),
    held("latency_mean", "handshake latency, mean, at half of the greatest rate, {held} held", "ms",
         "latency_ms", "client", "mean", targets=(itself(50),)),
    held("latency_mean_own", "the same by the gateway's own histogram", "ms",
         "latency_ms", "gateway", "mean", targets=(itself(50),)),
    held("latency_p99", "handshake latency, p99, at half of the greatest rate, {held} held", "ms",
         "latency_ms", "client", "p99"),
    held("latency_p99_own", "the same by the gateway's own histogram", "ms",
         "latency_ms", "gateway", "p99"),
    held("growth_request", "CPU per request with {held} idle connections / with 100", "ratio",
         "growth", "request", targets=(itself(1.1),)),
    held("growth_handshake", "CPU per handshake with {held} idle connections / with 100", "ratio",
         "growth", "handshake", targets=(itself(1.1),)),
    Figure("idle", "idle connection, resident, {held} held (peers: at most 9,500)", "KiB", ["idle"],
           ("kib_per_connection",), "idle", targets=(itself(2.5),)),
    *between("both", "mutual TLS on both legs"),
    Figure("both_idle", "idle connection, resident, {held} held (peers: at most 9,500), mutual TLS on "
           "both legs", "KiB", ["idle"], ("kib_per_connection",), "idle", targets=(itself(3.5),),
           legs=LEGS["both"]),
    *between("out", "plaintext in, mutual TLS out", client="plain"),
    *waited("first_byte_out_nagle", "connect to first byte, plaintext in, mutual TLS out, resumed with a "
            "backend that has Nagle's algorithm", ["handshake", "--connections", "1"],
            legs=LEGS["out_nagle"], client="plain"),
)}
