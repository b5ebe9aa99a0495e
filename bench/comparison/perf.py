"""Where the time of a contender goes: perf(1) beside a run, and its report as text. Symbols of
libraries need their debug packages; a profile costs a few percent of the figure."""
import contextlib
import pathlib
import signal
import subprocess


def tree(pid):
    """The process and its descendants."""
    pids = [pid]
    for parent in pids:
        for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            pids += [int(child) for child in children.read_text().split()]
    return pids


def report(data, keys, limit):
    shown = subprocess.run(["perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none",
                            "--sort", keys, "--percent-limit", str(limit)],
                           capture_output=True, text=True, check=False)
    return "\n".join(" ".join(line.split()).rstrip(" -") for line in shown.stdout.split("\n")
                     if line.strip() and not line.startswith("#"))


@contextlib.contextmanager
def recording(folder, name, pid):
    if not folder:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    data = str(folder / f"{name}.perf")
    recorder = subprocess.Popen(["perf", "record", "-q", "-F", "3999", "-e", "cpu-clock",
                                 "--call-graph", "fp", "-o", data, "-p",
                                 ",".join(map(str, tree(pid)))], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
        text = report(data, "dso", 0.5) + "\n\n" + report(data, "dso,symbol", 0.4)
        (folder / f"{name}.txt").write_text(text + "\n")
