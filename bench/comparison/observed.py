"""What a gateway says of itself, and the kernel of its process."""
import pathlib
import time
import urllib.request


def scrape(hop):
    page = urllib.request.urlopen(f"http://127.0.0.1:{hop.admin_port}/metrics", timeout=30).read()
    values = {}
    for line in page.decode().splitlines():
        if line.startswith("#"):
            continue
        name, value = line.rsplit(" ", 1)
        values[name.removeprefix("sallyport_")] = float(value)
    return values


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def thread(process, name):
    """The id of the one of this name."""
    for each in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        if (each / "comm").read_text().strip() == name:
            return int(each.name)
    raise RuntimeError(f"no thread is named {name}")


def main_thread_seconds(process):
    """CPU time, in nanoseconds underneath."""
    text = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/schedstat").read_text()
    return int(text.split()[0]) / 1e9


def rss_mib(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def wait_for(what, condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise RuntimeError(f"never happened: {what}")


def wait_until_all_are_closed(hop):
    wait_for("all connections are closed", lambda: not sum(
        value for name, value in scrape(hop).items() if name.startswith("connections{")))
