"""Following: a thread for each thing that is followed, and what it tells the loop.

A source has feeds. A feed knows how to follow its one thing (a service, a name, a prefix) and
nothing of files, pauses or other feeds."""
import dataclasses
import random
import threading
import time
import traceback

from .endpoint import Invalid

FIRST_PAUSE_S = 0.5


class SourceError(Exception):
    """A source cannot be reached, or what it said is no whole and valid answer. It changes nothing,
    and following begins anew after a pause, of at least `retry_after_s`."""

    def __init__(self, text, retry_after_s=0):
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Feed:
    """`name`: for logs and probes, unique. `routes`: the names of those it feeds; None: whatever it
    reports."""
    name = ""
    routes = None

    def follow(self, report):
        """Begins anew, reports each whole view as it comes, and returns when it has come to a good
        end, to be called again at once. Raises SourceError."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Event:
    """What a thread tells the loop. One of: a view, {route: endpoints or Invalid}, which is
    complete; a sign of life; an error; the end of the thread by a defect, as a traceback."""
    feed: Feed
    view: dict = None
    notice: str = None  # what of the source is of no route
    error: str = None
    defect: str = None
    expected_s: float = 0  # the next event comes within this time, or the thread is stuck


def all_or_invalid(make, things):
    """[make(thing), ...]; the first Invalid in their place, because a part of a route is none."""
    try:
        return [make(thing) for thing in things]
    except Invalid as invalid:
        return invalid


class Report:
    """What a feed may say and do while it follows."""

    sleep = staticmethod(time.sleep)

    def __init__(self, feed, post):
        self._feed, self._post = feed, post

    def view(self, routes, expected_s, notice=None):
        """All that the feed knows now of its routes; `notice`: what else people should know."""
        self._post(Event(self._feed, view=routes, notice=notice, expected_s=expected_s))

    def alive(self, expected_s):
        """The last view still holds."""
        self._post(Event(self._feed, expected_s=expected_s))

    def error(self, text, expected_s):
        """Follower's: a feed raises SourceError."""
        self._post(Event(self._feed, error=text, expected_s=expected_s))


def pause_s(failures, longest_s, at_least_s=0, chance=random.random):
    """Before the next try after so many failures in a row: doubled each time up to a limit, and of
    that between a half and the whole, so that many feeders do not come back together."""
    whole = min(longest_s, FIRST_PAUSE_S * 2 ** min(failures - 1, 20))
    return max(whole * (0.5 + chance() / 2), min(at_least_s, longest_s))


class Follower(threading.Thread):
    """Follows one feed for ever. A daemon: the process ends without waiting for it, and it owns
    nothing that would be left half done."""

    def __init__(self, feed, post, longest_pause_s):
        super().__init__(daemon=True, name=feed.name)
        self._feed, self._post, self._longest_pause_s = feed, post, longest_pause_s

    def run(self):
        report, failures = Report(self._feed, self._post), 0
        try:
            while True:
                begun = time.monotonic()
                try:
                    self._feed.follow(report)
                    failures = 0
                except SourceError as error:
                    # What answers and fails soon after is not well yet.
                    lasted = time.monotonic() - begun > self._longest_pause_s
                    failures = 1 if lasted else failures + 1
                    pause = pause_s(failures, self._longest_pause_s, error.retry_after_s)
                    report.error(str(error), expected_s=pause + 300)
                    report.sleep(pause)
        except BaseException:
            # Nothing is left to follow this feed: the loop ends the process.
            self._post(Event(self._feed, defect=traceback.format_exc()))
