"""The generated parts of a page that people write."""
import re


class NoPlace(Exception):
    """The page has no such part."""


def replace(text, name, content):
    """The page with another `content` between `<!-- measured: NAME -->` and `<!-- end -->`."""
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    part = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not part.search(text):
        raise NoPlace(f"no {begin} ... {end} in the page")
    return part.sub(lambda _: f"{begin}\n{content}\n{end}", text, count=1)
