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

from comparison import perf, pki as pki_module


@dataclasses.dataclass
class Hop:
    """What a contender must know to be the hop."""
    folder: pathlib.Path
    port: int
    backend_port: int
    pki: pki_module.Pki
    idle: int = 0  # connections that will be held; 0: not an idle run


def machine():
    model = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text()
             .split("\n") if line.startswith("model name")]
    shown = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False)
    return {"cpu": model[0] if model else platform.machine(), "cpus": os.cpu_count(),
            "kernel": platform.release(), "openssl": shown.stdout.strip()}


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
    the load, and its wake-ups would cost no message to another core. Everybody stays where he was
    put."""
    for each in perf.tree(pid):
        for thread in pathlib.Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), {cpu})


class Bench:
    def __init__(self, work, pki, tools, arguments):
        self.work, self.pki, self.tools, self.arguments = work, pki, tools, arguments
        self.backend_port = 0
        self.failures = []
        self.realtime = os.geteuid() == 0
        go_first("self")

    @staticmethod
    def pinned(cpu, command):
        return ["taskset", "-c", str(cpu)] + [str(word) for word in command]

    @contextlib.contextmanager
    def backend(self):
        command = [self.tools / "sallyport-backend"] + (["--realtime"] if self.realtime else [])
        process = subprocess.Popen(self.pinned(self.arguments.load_cpu, command),
                                   stdout=subprocess.PIPE, text=True)
        self.backend_port = json.loads(process.stdout.readline())["port"]
        try:
            yield
        finally:
            process.terminate()
            process.wait()

    @contextlib.contextmanager
    def contender(self, peer, idle):
        folder = self.work / peer.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        hop = Hop(folder, free_port(), self.backend_port, self.pki, idle)
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

    def load(self, peer, figure, hop, process):
        arguments = self.arguments
        command = [self.tools / "sallyport-load", *figure.load,
                   "--connect", f"127.0.0.1:{hop.port}", "--pid", process.pid,
                   "--cert", self.pki.client_chain, "--key", self.pki.client_key,
                   "--client", peer.client or arguments.client, "--sources", 8]
        if figure.kind == "bulk":
            command += ["--bytes", int(arguments.gigabytes * 1e9)]
        elif figure.kind == "idle":
            command += ["--connections", hop.idle]
        else:
            command += ["--seconds", arguments.seconds]
        if figure.realtime and self.realtime:
            command.append("--realtime")
        done = subprocess.run(self.pinned(arguments.load_cpu, command), capture_output=True,
                              text=True, check=False, timeout=900)
        if done.returncode != 0:
            raise RuntimeError((done.stdout + done.stderr).strip()[-600:] or "no report")
        return json.loads(done.stdout)

    def measure(self, peer, figure):
        """One run: the report with the figure's `value`, or nothing when it failed."""
        if figure.name == "resumed" and peer.client == "plain":
            return None
        idle = (self.arguments.idle or peer.idle_connections) if figure.kind == "idle" else 0
        try:
            with self.contender(peer, idle) as (hop, process), \
                    perf.recording(self.arguments.perf, f"{peer.name}-{figure.name}", process.pid):
                report = self.load(peer, figure, hop, process)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.failures.append(f"{peer.name} {figure.name}: {error}")
            return None
        value = report
        for key in figure.value:
            value = value[key]
        return {"value": value, "report": report}

    def rounds(self, contenders, figures):
        """results[figure][peer]: one entry a round. Who comes first changes from round to round."""
        results = {figure.name: {peer.name: [] for peer in contenders} for figure in figures}
        for number in range(self.arguments.rounds):
            first = number % len(contenders)
            order = contenders[first:] + contenders[:first]
            for figure in figures:
                words = []
                for peer in order:
                    run = self.measure(peer, figure)
                    results[figure.name][peer.name].append(run)
                    words.append(f"{peer.name} {run['value']:.5g}" if run else f"{peer.name} -")
                print(f"round {number + 1} {figure.name}: " + ", ".join(words), file=sys.stderr,
                      flush=True)
        return results
