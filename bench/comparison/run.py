"""Runs one contender under one load, and all of them in rounds."""
import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time

from comparison import figures as promised, held, legs as legs_module, perf, pki as pki_module


@dataclasses.dataclass
class Hop:
    """What a contender must know to be the hop."""
    folder: pathlib.Path
    port: int
    backend_port: int
    pki: pki_module.Pki
    idle: int = 0  # connections that will be held; 0: not an idle run
    backends: int = 1  # the backend is there at as many addresses, from 127.0.0.1 on
    admin_port: int = 0
    min_tls: str = "1.3"
    legs: legs_module.Legs = legs_module.IN

    def protocols(self):
        """As OpenSSL's programs list them."""
        return "TLSv1.2 TLSv1.3" if self.min_tls == "1.2" else "TLSv1.3"


def debian():
    """The release's number; empty where it is not Debian."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/etc/os-release").read_text().splitlines():
            if line.startswith("VERSION_ID="):
                return line.split("=")[1].strip('"')
    return ""


def machine():
    model = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text()
             .split("\n") if line.startswith("model name")]
    shown = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False)
    return {"cpu": model[0] if model else platform.machine(), "cpus": os.cpu_count(),
            "kernel": platform.release().split("-")[0], "debian": debian(), "openssl": shown.stdout.split(" (")[0].strip()}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_listening(port, process):
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode} before it listened")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    else:
        raise RuntimeError("does not listen after 10 s")
    time.sleep(0.3)


def go_first(pid):
    """Ahead of whatever else the machine does, as far as it lets us; no change on a quiet one.
    Sessions are scheduled against one another (sched(7), autogroup), so nice alone does nothing."""
    with contextlib.suppress(OSError):
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-18")


def keep_on(cpu, pid):
    """hitch pins its first worker to CPU 0, whatever it inherits: there it would share a core with
    the load, and its wake-ups would cost no message to another core. Every thread stays where it
    was put."""
    for each in perf.tree(pid):
        for thread in pathlib.Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {cpu})


def check_backend_handshakes(legs, before, after):
    """How many there were meanwhile; raises RuntimeError where what was measured is not what was
    meant. Some are full even where all could resume: the first ones, and what a contender that has
    more connections under way than sessions makes."""
    meanwhile = {name: after[name] - before[name] for name in ("full", "resumed")}
    full, resumed = meanwhile.values()
    if legs.backend_tls and not full + resumed:
        raise RuntimeError("the backend has seen no handshake")
    if legs.resumes and resumed < 0.7 * (full + resumed):
        raise RuntimeError(f"only {resumed} of {full + resumed} handshakes with the backend "
                           "were resumed")
    if not legs.resumes and resumed:
        raise RuntimeError(f"{resumed} handshakes with the backend were resumed")
    return meanwhile


class Bench:
    def __init__(self, work, pki, tools, arguments):
        self.work, self.pki, self.tools, self.arguments = work, pki, tools, arguments
        self.backend_ports = {}
        self.failures = []
        self.realtime = os.geteuid() == 0
        go_first("self")
        # What this script does beside a run must not take the contender's core.
        os.sched_setaffinity(0, {arguments.load_cpu})

    @staticmethod
    def pinned(cpu, command):
        return ["taskset", "-c", str(cpu)] + [str(word) for word in command]

    @contextlib.contextmanager
    def backend(self):
        command = [self.tools / "sallyport-backend", "--cert", self.pki.backend_chain,
                   "--key", self.pki.backend_key] + (["--realtime"] if self.realtime else [])
        process = subprocess.Popen(self.pinned(self.arguments.load_cpu, command),
                                   stdout=subprocess.PIPE, text=True)
        self.backend_ports = json.loads(process.stdout.readline())
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    def backend_handshakes(self):
        """How many the backend has had so far: full and resumed."""
        with socket.create_connection(("127.0.0.1", self.backend_ports["port"])) as asking:
            asking.sendall(b"H")
            return json.loads(asking.makefile().readline())

    @contextlib.contextmanager
    def contender(self, peer, idle, min_tls="1.3", legs=legs_module.IN):
        folder = self.work / peer.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        hop = Hop(folder, free_port(), self.backend_ports[legs.port], self.pki, idle,
                  admin_port=free_port(), min_tls=min_tls, legs=legs)
        command = peer.command(hop)
        with open(folder / "log", "w", encoding="utf-8") as log:
            # A session of its own: the whole tree can be ended, whatever the program does.
            # Connection lines (stdout) are written, to nowhere; the log takes the rest.
            process = subprocess.Popen(
                self.pinned(self.arguments.server_cpu, command), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        go_first(process.pid)
        try:
            wait_until_listening(hop.port, process)
            keep_on(self.arguments.server_cpu, process.pid)
            yield hop, process
            if process.poll() is not None:
                raise RuntimeError(f"ended with {process.returncode}")
        finally:
            self.end(process)

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.terminate()
            if Bench.wait(process, 1):
                return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        Bench.wait(process, 10)

    @staticmethod
    def wait(process, timeout):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
            return True
        return False

    def load_command(self, peer, words, hop, process, client=""):
        return [self.tools / "sallyport-load", *words,
                "--connect", f"127.0.0.1:{hop.port}", "--pid", process.pid,
                "--cert", self.pki.client_chain, "--key", self.pki.client_key,
                "--client", peer.client or client or self.arguments.client, "--sources", 8]

    def load_report(self, command, cpu=None):
        """Runs a load program to its end."""
        cpu = self.arguments.load_cpu if cpu is None else cpu
        done = subprocess.run(self.pinned(cpu, command), capture_output=True, text=True,
                              check=False, timeout=900)
        if done.returncode != 0:
            raise RuntimeError((done.stdout + done.stderr).strip()[-600:] or "no report")
        return json.loads(done.stdout)

    def load(self, peer, figure, hop, process):
        if figure.kind == "held":
            return held.run(self, peer, hop, process)
        command = self.load_command(peer, figure.load, hop, process, figure.client)
        if figure.kind == "bulk":
            command += ["--bytes", int(self.arguments.gigabytes * 1e9)]
        elif figure.kind == "idle":
            command += ["--connections", hop.idle]
        else:
            command += ["--seconds", self.arguments.seconds]
        if figure.realtime and self.realtime:
            command.append("--realtime")
        return self.load_report(command)

    def run(self, peer, figure):
        """The report of one run, or nothing when it failed."""
        idle = 0
        if figure.kind in ("idle", "held"):
            idle = self.arguments.idle or peer.idle_connections
        try:
            with self.contender(peer, idle, figure.min_tls, figure.legs) as (hop, process), \
                    perf.recording(self.arguments.perf, f"{peer.name}-{figure.name}", process.pid):
                before = self.backend_handshakes()
                report = self.load(peer, figure, hop, process)
                if figure.of_connections:
                    report["backend_handshakes"] = check_backend_handshakes(
                        figure.legs, before, self.backend_handshakes())
                return report
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{peer.name} {figure.name}: {error}")
            return None

    def measure(self, peer, figure, done):
        """The figure's `value` and the report that has it. `done`: reports of this round, by
        contender and load, for figures that are taken from one run."""
        if figure.ours_only and peer.name != promised.OURS:
            return None
        if figure.legs not in peer.legs or figure.needs_tls and peer.client == "plain":
            return None
        key = (peer.name, figure.legs, *figure.load)
        if key not in done:
            done[key] = self.run(peer, figure)
        if done[key] is None:
            return None
        try:
            return {"value": figure.value_of(done[key]), "report": done[key]}
        except (KeyError, ZeroDivisionError):  # not a single unit of work was done
            self.failures.append(f"{peer.name} {figure.name}: nothing to count in {done[key]}")
            return None

    def crypto(self):
        """What cryptography alone costs on the contenders' core."""
        try:
            return self.load_report([self.tools / "sallyport-load", "crypto",
                                     "--seconds", self.arguments.seconds],
                                    self.arguments.server_cpu)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"crypto: {error}")
            return None

    def rounds(self, contenders, figures):
        """results[figure][peer]: one entry a round. The first contender changes from round to round.
        Beside them, one a round too, what crypto() says."""
        results = {figure.name: {peer.name: [] for peer in contenders} for figure in figures}
        crypto = []
        for number in range(self.arguments.rounds):
            first = number % len(contenders)
            order = contenders[first:] + contenders[:first]
            done = {}
            crypto.append(self.crypto())
            for figure in figures:
                words = []
                for peer in order:
                    run = self.measure(peer, figure, done)
                    results[figure.name][peer.name].append(run)
                    if not figure.ours_only or run:
                        words.append(f"{peer.name} {run['value']:.5g}" if run else f"{peer.name} -")
                print(f"round {number + 1} {figure.name}: " + ", ".join(words), file=sys.stderr,
                      flush=True)
        return results, crypto
