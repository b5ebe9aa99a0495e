"""The discovery file: its text, and how it is read and replaced."""
import contextlib
import fcntl
import itertools
import json
import os

from .checked import parse_json
from .endpoint import Invalid, check_route, from_label_set

MAX_BYTES = 64 << 20  # of the gateway's reader


class NotOurs(Exception):
    """The file has what a feeder does not write, and would lose."""


def render(routes):
    """The text for {route: endpoints}: a line for each group of targets with the same labels. The
    same routes give the same text. A route without targets has a group without targets."""
    groups = []
    for route, endpoints in sorted(routes.items()):
        labels = [(json.dumps({"route": route} | one.label_set(), ensure_ascii=False), one.target)
                  for one in endpoints]
        labels = labels or [(json.dumps({"route": route}, ensure_ascii=False), None)]
        for text, members in itertools.groupby(sorted(labels, key=lambda pair: pair[0]),
                                               key=lambda pair: pair[0]):
            targets = [target for _, target in members if target is not None]
            groups.append(f'{{"targets": {json.dumps(targets, ensure_ascii=False)}, "labels": {text}}}')
    return "[" + ",".join("\n  " + group for group in groups) + "\n]\n"


def parse(text):
    """{route: endpoints} of a text that a feeder wrote. Raises Invalid, and NotOurs."""
    groups = parse_json(text)
    if type(groups) is not list:
        raise Invalid("it is no list of groups")
    routes = {}
    for group in groups:
        if type(group) is not dict or not set(group) <= {"targets", "labels"}:
            raise Invalid("a group has \"targets\" and \"labels\"")
        targets, labels = group.get("targets") or [], group.get("labels") or {}
        if type(targets) is not list or type(labels) is not dict or not all(
                type(value) is str for value in labels.values()):
            raise Invalid("a group has a list of targets, and strings for labels")
        labels = dict(labels)
        route = labels.pop("route", "")
        if not route:
            raise NotOurs("it has a group without a route, which would be lost")
        known = routes.setdefault(check_route(route), [])
        known.extend(from_label_set(target, labels) for target in targets)
    return {route: tuple(sorted(endpoints)) for route, endpoints in routes.items()}


class DiscoveryFile:
    """One process at a time owns a file, from lock() to its end."""

    def __init__(self, path):
        # A rename onto a symbolic link would replace the link.
        self.path = os.path.realpath(path)
        self._folder, self._name = os.path.split(self.path)
        self._lock = None

    def lock(self):
        """Raises BlockingIOError when another feeder has the file. The lock's file stays."""
        path = os.path.join(self._folder, f".{self._name}.lock")
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self):
        """Its text as bytes; None: there is no file."""
        try:
            with open(self.path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > MAX_BYTES:
            raise OSError(f"{self.path}: larger than {MAX_BYTES} bytes")
        return content

    def replace(self, content):
        """By a rename, so that a reader sees the old file or the new one, whole; on the disk before
        it is seen. Mode and owner stay as they are; a new file is readable for all. Raises
        OSError: then the old file is as it was."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            status = None
        temporary = os.path.join(self._folder, f".{self._name}.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # what a killed feeder left
        try:
            descriptor = os.open(temporary,
                                 os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                new = os.fstat(descriptor)
                if status and (status.st_uid, status.st_gid) != (new.st_uid, new.st_gid):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, status.st_mode & 0o777 if status else 0o644)
                os.fsync(descriptor)
            os.rename(temporary, self.path)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
