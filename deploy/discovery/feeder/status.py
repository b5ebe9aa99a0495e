"""What probes are told: systemd by its socket, others by a file."""
import json
import os
import socket
import time

from .checked import parse_json
from .endpoint import Invalid

STUCK_S = 60  # the loop writes the file every five


class ServiceManager:
    """sd_notify(3). Without NOTIFY_SOCKET it says nothing."""

    def __init__(self, environment):
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]

    def say(self, *assignments):
        """Raises OSError."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(5)
            channel.sendto("\n".join(assignments).encode(), self._address)


def write(path, content):
    """Replaces the file as a whole. Raises OSError."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    os.rename(temporary, path)


def judge(path, alive_only, patience_s, clock=time.time):
    """What is wrong according to the status file, a line each; empty: nothing. `alive_only`: that
    the process makes progress is enough."""
    try:
        with open(path, "rb") as file:
            status = parse_json(file.read())
        now, problems = clock(), []
        if now - status["epoch"] > STUCK_S:
            problems.append(f"no progress for {now - status['epoch']:.0f} s")
        problems += [f"{feed['name']}: stuck" for feed in status["feeds"] if feed["stuck"]]
        if alive_only:
            return problems
        if not status["ready"]:
            problems.append("nothing is written yet")
        if status["error"]:
            problems.append(status["error"])
        for feed in status["feeds"]:
            if feed["error"] and now - feed["heard"] > patience_s:
                problems.append(f"{feed['name']}: {feed['error']}")
        return problems + [f"route {route}: {state['refused']}"
                           for route, state in status["routes"].items() if state["refused"]]
    except (OSError, Invalid, KeyError, TypeError) as error:
        return [f"{path}: {error!r}"]
