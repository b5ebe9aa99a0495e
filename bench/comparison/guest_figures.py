"""What is measured in a guest whose clock counts instructions (bench/vm)."""

MIB = 1 << 20


class Figure:
    """`value` of a report is in `unit`; its seconds are instructions, a nanosecond each.
    `client_tls`: it is one of hops that have TLS with the client."""

    def __init__(self, title, unit, load, units, scale, client_tls=False):
        self.title, self.unit, self.load, self.units, self.scale = title, unit, load, units, scale
        self.client_tls = client_tls

    def words(self, share):
        """`share`: of the full load."""
        warm = ["--warmup", 0.1]
        if "--bytes" in self.load:
            return self.load[:-1] + [int(self.load[-1] * share), *warm]
        return self.load + ["--seconds", round(share * 0.75, 2), *warm]

    def values(self, report):
        """What the contender spent for a unit, its kernel threads' part of that, and everybody's."""
        units = report[self.units] * self.scale
        threads = report["kernel_threads_seconds"]
        return {"value": 1e9 * (report["cpu_seconds"] + threads) / units,
                "kernel_threads": 1e9 * threads / units,
                "machine": 1e9 * report["machine_seconds"] / units}


def bulk(mode, title, *words, client_tls=False):
    return Figure(title, "M/MiB", [mode, "--connections", 1, *words, "--bytes", 24 * MIB],
                  "bytes", 1e6 / MIB, client_tls)


def requests(title, connections, block):
    return Figure(title, "k", ["request", "--connections", connections, "--block", block],
                  "requests", 1e3)


def handshakes(title, mode, client_tls=False):
    return Figure(title, "M", [mode, "--connections", 4], "handshakes", 1e6, client_tls)


FIGURES = {
    "upload-16k": bulk("upload", "MiB from the client, 16 KiB records"),
    "upload-1k": bulk("upload", "MiB from the client, 1 KiB records", "--record", 1024,
                      client_tls=True),
    "download-16k": bulk("download", "MiB to the client, written 16 KiB at a time",
                         "--write", 16384),
    "download-1k": bulk("download", "MiB to the client, written 1 KiB at a time", "--write", 1024),
    "request-16k": requests("16 KiB request and response, 1 connection", 1, 16384),
    "request-1k": requests("1 KiB request and response, 1 connection", 1, 1024),
    "requests-1k": requests("1 KiB request and response, 64 connections", 64, 1024),
    "handshake": handshakes("full mTLS handshake, hand-off, one byte, close", "handshake"),
    "resumed": handshakes("the same, resumed", "resumed", client_tls=True),
}
