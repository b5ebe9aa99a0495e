"""What is measured: the load to run, and the number to take out of its report. Less is better
everywhere."""
import dataclasses


@dataclasses.dataclass
class Figure:
    name: str
    title: str
    unit: str
    load: list          # mode and flags of sallyport-load
    value: tuple        # path of the number in its report
    kind: str = "timed"  # timed | bulk | idle
    realtime: bool = False  # latencies: keep the generator's own wait for its core out of them


def timed(name, title, unit, load, *value, **more):
    return Figure(name, title, unit, load, value, **more)


def bulk(name, title, mode, connections):
    return Figure(name, title, "CPU s", [mode, "--connections", str(connections)],
                  ("cpu_s_per_gb",), "bulk")


HANDSHAKES = ["--connections", "64"]
REQUESTS = ["--connections", "64"]
FIXED_RATE = REQUESTS + ["--rate", "7000"]

FIGURES = {figure.name: figure for figure in (
    timed("handshake", "full mTLS handshake", "µs CPU", ["handshake"] + HANDSHAKES,
          "cpu_us_per_handshake"),
    timed("resumed", "resumed handshake", "µs CPU", ["resumed"] + HANDSHAKES,
          "cpu_us_per_handshake"),
    bulk("download1", "GB to the client, 1 connection", "download", 1),
    bulk("download8", "GB to the client, 8 connections", "download", 8),
    bulk("upload1", "GB from the client, 1 connection", "upload", 1),
    bulk("upload8", "GB from the client, 8 connections", "upload", 8),
    timed("request", "1 KiB request and response, 64 connections", "µs CPU",
          ["request"] + REQUESTS, "cpu_us_per_request"),
    timed("p99", "p99 at 7,000 requests/s", "µs", ["request"] + FIXED_RATE,
          "latency_us", "p99", realtime=True),
    timed("storm", "p99 at 7,000 requests/s beside a handshake storm", "µs",
          ["storm"] + FIXED_RATE, "storm_latency_us", "p99", realtime=True),
    Figure("idle", "idle connection, resident", "KiB", ["idle"], ("kib_per_connection",), "idle"),
)}
