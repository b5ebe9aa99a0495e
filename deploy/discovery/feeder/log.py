"""Lines on stderr, in the form of the gateway's operational lines."""
import datetime
import json
import sys
import threading

_MAX_TEXT = 500
_MAX_ITEMS = 20
_lock = threading.Lock()


def now():
    """UTC, as in the gateway's lines."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(
        timespec="milliseconds").replace("+00:00", "Z")


def shorten(text):
    """One printable line of what a stranger may have written."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(str(text).split()))
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "..."


class Log:
    def __init__(self, form, out=None):
        self._form = form  # "json" or "text"
        self._out = out or sys.stderr

    def line(self, level, message, **more):
        """`more`: strings, numbers and lists of strings; a long list is cut and says so."""
        for key, value in more.items():
            if isinstance(value, list) and len(value) > _MAX_ITEMS:
                more[key] = value[:_MAX_ITEMS] + [f"and {len(value) - _MAX_ITEMS} more"]
            elif isinstance(value, str):
                more[key] = shorten(value)
        members = {"time": now(), "level": level, "message": shorten(message), **more}
        if self._form == "json":
            text = json.dumps(members)
        else:
            text = " ".join(f"{key}={self._word(value)}" for key, value in members.items())
        with _lock:
            print(text, file=self._out, flush=True)

    @staticmethod
    def _word(value):
        if isinstance(value, list):
            value = ",".join(value)
        value = str(value)
        return value if value and " " not in value and '"' not in value else json.dumps(value)
