"""What thousands of idle connections do to the others: one contender, first beside a hundred, then
beside all of them, then beside a hundred again, so that a machine that grows slower or faster
meanwhile does not pass for growth. Beside all of them also how long a handshake takes at half of the
greatest rate, by the client's clock and by the gateway's own histogram, and whether these agree."""
import contextlib
import json
import subprocess
import urllib.request

from comparison import histogram

FEW = 100
SLOTS = 256  # handshakes under way at once where the rate is given
DURATION = "sallyport_tls_handshake_duration_seconds"


@contextlib.contextmanager
def holding(bench, peer, hop, process, count):
    """`count` idle connections, each of which has echoed a byte, held by a process of their own."""
    command = bench.load_command(peer, ["idle", "--connections", count, "--settle", "0.2",
                                        "--hold", "100000"], hop, process)
    holder = subprocess.Popen(bench.pinned(bench.arguments.load_cpu, command),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        # It reports when all are held.
        if not holder.stdout.readline():
            raise RuntimeError(f"{count} idle connections: " + holder.stderr.read().strip()[-600:])
        yield
        if holder.poll() is not None:
            raise RuntimeError("the idle connections were not held")
    finally:
        holder.terminate()
        holder.communicate()


def scrape(hop):
    with urllib.request.urlopen(f"http://127.0.0.1:{hop.admin_port}/metrics", timeout=30) as page:
        return histogram.parse(page.read().decode(), DURATION)


def work(bench, peer, hop, process):
    """Request and handshake, as in the figures of that name."""
    seconds = ["--seconds", bench.arguments.seconds]
    words = ["--connections", 64, *seconds]
    return {mode: bench.load_report(bench.load_command(peer, [mode, *words], hop, process))
            for mode in ("request", "handshake")}


def latency(bench, peer, hop, process, greatest_rate):
    """No warm-up: the gateway's histogram and the client are to have seen the same handshakes."""
    rate = greatest_rate / 2
    words = ["handshake", "--connections", SLOTS, "--rate", f"{rate:.1f}", "--warmup", 0,
             "--seconds", bench.arguments.seconds] + (["--realtime"] if bench.realtime else [])
    before = scrape(hop)
    client = bench.load_report(bench.load_command(peer, words, hop, process))
    gateway = scrape(hop) - before
    said = {
        "client": {"mean": client["latency_us"]["mean"] / 1e3,
                   "p99": client["latency_us"]["p99"] / 1e3, "count": client["handshakes"]},
        "gateway": {"mean": gateway.mean() * 1e3, "p99": gateway.quantile(0.99) * 1e3,
                    "count": gateway.count},
    }
    check_agreement(said, gateway.bounds(0.99)[0] * 1e3)
    return {"rate": rate, "client_run": client, **said}


def check_agreement(said, least_p99):
    """The client's clock runs from before the connect to the byte that came back, the gateway's from
    the ClientHello to the verdict: the gateway's is a part of the client's. Handshakes that were
    under way when the client stopped counting are the gateway's only. `least_p99`: lower bound of
    the histogram's bucket."""
    client, gateway = said["client"], said["gateway"]
    if not 0 <= gateway["count"] - client["count"] <= SLOTS:
        raise RuntimeError(f"the gateway counted {gateway['count']} handshakes, "
                           f"the client {client['count']}")
    if gateway["mean"] > client["mean"] or least_p99 > client["p99"]:
        raise RuntimeError(f"the gateway's histogram and the client do not agree: {said}")


def ratio(few, many, again):
    """Beside many to the mean of before and after."""
    return 2 * many / (few + again)


def growth(beside_few, beside_many, beside_few_again):
    """By work: what a unit of it costs beside many, to what it costs beside few."""
    def cost(reports, mode):
        if not reports[mode][f"{mode}s"]:
            raise RuntimeError(f"not one {mode} in the whole measurement")
        return reports[mode][f"cpu_us_per_{mode}"]
    return {mode: ratio(cost(beside_few, mode), cost(beside_many, mode),
                        cost(beside_few_again, mode))
            for mode in beside_many}


def run(bench, peer, hop, process):
    """The report of the whole scenario."""
    with holding(bench, peer, hop, process, FEW):
        first = work(bench, peer, hop, process)
        with holding(bench, peer, hop, process, hop.idle - FEW):
            many = work(bench, peer, hop, process)
            measured = latency(bench, peer, hop, process,
                               many["handshake"]["handshakes_per_second"])
        last = work(bench, peer, hop, process)
    return {"held": hop.idle, "latency_ms": measured, "growth": growth(first, many, last),
            "beside_few": first, "beside_many": many, "beside_few_again": last}
