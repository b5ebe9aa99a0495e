"""What a thread that connects over the loopback does only because it is the loopback.

A segment to ourselves is received in the sender's own system call: where the other side is another
machine, that is its work. And the kernel remembers what it measured of each address; ten thousands of
them, clients of earlier runs, hang in the lists through which each connect looks for its peer."""
import collections
import shutil
import subprocess

# Functions of the kernel that only the side that listens runs: it answers a SYN, and deals with what
# comes for a connection that it has not accepted.
LISTENER = {"tcp_conn_request", "tcp_check_req"}
RECEIVE = "net_rx_action"
TCP = "tcp_v4_do_rcv"
# Of the segments of a connect and a reset (SYN, SYN with acknowledgement, RST) those to the listener.
TO_LISTENER = 2 / 3


def forget_peers():
    """Of this network namespace, and of the loopback only: ip-tcp_metrics(8)."""
    subprocess.run(["ip", "tcp_metrics", "flush", "127.0.0.0/8"], check=True)


def listeners_part(thread, folder, seconds):
    """From 0 to 1, of the CPU time of a thread that connects and resets; nothing without perf(1)."""
    if not shutil.which("perf"):
        return None
    data = folder / "loopback.perf"
    subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "5000", "-g", "-t", str(thread),
                    "-o", data, "--", "sleep", str(seconds)], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    text = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym"], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    samples = collections.Counter(side(stack) for stack in text.split("\n\n") if stack.strip())
    return (samples["listener"] + TO_LISTENER * samples["both"]) / samples.total()


def side(stack):
    functions = {line.split()[1].split("+")[0] for line in stack.splitlines()
                 if len(line.split()) > 1}
    if functions & LISTENER:
        return "listener"
    if RECEIVE in functions and TCP not in functions:
        return "both"  # below TCP: either's segment
    return "ours"
