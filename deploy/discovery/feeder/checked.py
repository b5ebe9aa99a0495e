"""JSON that others wrote: parsed strictly, and read with every type checked."""
import json

from .endpoint import Invalid

_REQUIRED = object()
_KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number", bool: "true or false"}


def _no_duplicates(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has the same key twice")
    return members


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


def parse_json(text):
    """The value of a text or of UTF-8 bytes; Invalid, if it is anything but one JSON value."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"no JSON: {error}") from None


def check(value, kind, what):
    # Not isinstance: True is an int there.
    if type(value) is not kind:
        raise Invalid(f"{what} is not {_KINDS[kind]}")
    return value


def field(members, name, kind, default=_REQUIRED):
    """A member of an object; without it or with null the default, if there is one."""
    value = check(members, dict, f"what should have '{name}'").get(name)
    if value is None and default is not _REQUIRED:
        return default
    return check(value, kind, f"'{name}'")


def objects(members, name):
    """A member that is a list of objects; absent or null is an empty one."""
    return [check(item, dict, f"an item of '{name}'") for item in field(members, name, list, [])]
