"""What requests notice of something that is done beside them: their p99."""
import concurrent.futures

RATE = 7000  # a second


def p99(bench, gateway, hop, process, act=lambda: None):
    """µs, of bench.arguments.seconds; `act` begins with their warm-up, a second before. Meanwhile
    nothing is scraped: that takes the gateway's CPU, too."""
    command = bench.load_command(
        gateway, ["request", "--connections", 64, "--rate", RATE, "--warmup", 1,
                  "--seconds", bench.arguments.seconds], hop, process,
        "lean") + (["--realtime"] if bench.realtime else [])
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        done = executor.submit(act)
        report = bench.load_report(command)
        done.result()
    return report["latency_us"]["p99"]
