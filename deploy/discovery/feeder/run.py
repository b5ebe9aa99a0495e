"""The loop. It alone decides and writes; the threads that follow the sources only post events."""
import queue
import signal
import time

from . import discovery_file, status
from .endpoint import Invalid
from .follow import Follower
from .log import shorten
from .routes import Limits, difference, judge

TICK_S = 5  # status, watchdog, a file that could not be written or was changed by others
LEAST_INTERVAL_S = 0.2  # between two files: changes that come together are one
STOP, ACCEPT = "stop", "accept"  # of signals


class Following:
    """What is known of one feed."""

    def __init__(self, feed, now):
        self.feed = feed
        self.view = None  # nothing was heard yet
        self.error = None
        self.notice = None
        self.heard = time.time()
        self.due = now + 300  # of the next event, on the monotonic clock

    def take(self, event, now):
        self.due = now + event.expected_s
        if event.error is None:
            self.error, self.heard = None, time.time()
        else:
            self.error = event.error
        if event.view is not None:
            self.view, self.notice = event.view, event.notice


class Feeder:
    """`file`: a locked DiscoveryFile. `once`: end when every feed has been heard and the file
    is written."""

    def __init__(self, feeds, file, limits, log, manager, status_path=None, once=False,
                 longest_pause_s=30):
        self._file, self._limits, self._log = file, limits, log
        self._manager, self._status_path, self._once = manager, status_path, once
        self._longest_pause_s = longest_pause_s
        self._events = queue.SimpleQueue()  # may be put into from a signal's handler
        now = time.monotonic()
        self._following = {feed.name: Following(feed, now) for feed in feeds}
        self._routes = {}    # in force: {route: endpoints}
        self._written = None  # what the file has of them, once there is one
        self._refused = {}   # {route: why}
        # A first file waits for every feed: with a part of the routes it would say that the others
        # have no endpoints. One of an earlier run has said something of all.
        self._may_write = False
        self._error = None   # why it is not written
        self._status_error = None
        self._write_not_before = now

    # ---- life ------------------------------------------------------------------------------------

    def run(self):
        """The exit code, when a signal or --once ends it, or a defect does. Raises NotOurs and
        OSError at the start only."""
        for number, word in ((signal.SIGTERM, STOP), (signal.SIGINT, STOP),
                             (signal.SIGUSR1, ACCEPT)):
            signal.signal(number, lambda *_, word=word: self._events.put(word))
        self._begin()
        for following in self._following.values():
            Follower(following.feed, self._events.put, self._longest_pause_s).start()
        tick = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= tick:
                self._flush()
                self._tell()
                tick = now + TICK_S
            code = self.take(self._wait(tick))
            if code is not None:
                self._manager.say("STOPPING=1")
                return code

    def _begin(self):
        """What the last run wrote is in force until the sources say otherwise."""
        content = self._file.read()
        if content is None:
            return
        try:
            known = discovery_file.parse(content)
        except Invalid as invalid:
            self._log.line("warning", "the file is no discovery file and will be replaced",
                           file=self._file.path, error=str(invalid))
            return
        self._written = known
        kept = {route: endpoints for route, endpoints in known.items() if self._feeds_of(route)}
        for route in sorted(set(known) - set(kept)):
            self._log.line("warning", "a route is not fed any more and leaves the file",
                           route=route)
        self._routes, self._may_write = dict(kept), bool(kept)

    def _wait(self, tick):
        """Events: the first one that comes until `tick`, or until a change may be written, and all
        that are there with it."""
        until = tick
        if self._stale():
            until = min(tick, self._write_not_before)
        events = []
        try:
            events.append(self._events.get(timeout=max(0, until - time.monotonic())))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events

    def take(self, events):
        """What a turn of the loop does with what was posted: events and signals. The exit code, if
        they are the end."""
        if STOP in events:
            return 0
        now, changed = time.monotonic(), False
        for event in events:
            if event == ACCEPT:
                changed = True
                continue
            following = self._following[event.feed.name]
            if event.defect:
                self._log.line("error", "defect", feed=event.feed.name,
                               error=event.defect[-400:])
                return 1
            if event.error and event.error != following.error:
                self._log.line("error", "the source fails; nothing changes", feed=event.feed.name,
                               error=event.error)
            elif following.error and not event.error:
                self._log.line("info", "the source answers again", feed=event.feed.name)
            if event.notice and event.notice != following.notice:
                self._log.line("warning", event.notice, feed=event.feed.name)
            following.take(event, now)
            changed = changed or event.view is not None
        if changed:
            self._judge(accept=ACCEPT in events)
        if self._stale() and now >= self._write_not_before:
            self._flush()
            self._write_not_before = now + (TICK_S if self._error else LEAST_INTERVAL_S)
        if events:
            self._tell()
        if self._once and self._all_heard() and not self._stale() and not self._error:
            return 1 if self._refused else 0
        return None

    # ---- routes ----------------------------------------------------------------------------------

    def _feeds_of(self, route):
        return [following for following in self._following.values()
                if following.feed.routes is None or route in following.feed.routes]

    def _all_heard(self):
        return all(following.view is not None for following in self._following.values())

    def _judge(self, accept):
        """Brings the routes in force to what the feeds say. `accept`: an operator has seen what was
        refused, and wants it."""
        named = set(self._routes)
        for following in self._following.values():
            named.update(following.feed.routes or following.view or ())
        for route in sorted(named):
            feeds = self._feeds_of(route)
            # A part of a route is none.
            if any(following.view is None for following in feeds):
                continue
            had = self._routes.get(route, ())
            # Only what somebody can have seen: not what has come with the signal.
            accepted = accept and route in self._refused
            limits = Limits(allow_empty=True) if accepted else self._limits
            new, why = judge(had, [following.view.get(route, ()) for following in feeds], limits)
            if why and why != self._refused.get(route):
                self._log.line("warning", "refused; the route stays as it was", route=route,
                               error=why, targets=len(had))
            if accepted and not why:
                self._log.line("warning", "accepted what was refused", route=route)
            self._refused.pop(route, None)
            if why:
                self._refused[route] = why
            self._routes[route] = new
            if not new and not why and all(following.feed.routes is None for following in feeds):
                del self._routes[route]  # nobody but its endpoints had named it
        if self._all_heard():
            self._may_write = True

    # ---- the file --------------------------------------------------------------------------------

    def _stale(self):
        return self._may_write and self._routes != self._written

    def _flush(self):
        """The file has what is in force, whatever happened to it, or it is said why not."""
        if not self._may_write:
            return
        content = discovery_file.render(self._routes).encode()
        try:
            if self._file.read() != content:
                self._file.replace(content)
                self._say_written()
        except OSError as error:
            text = f"{self._file.path}: {error.strerror or error}"
            if text != self._error:
                self._log.line("error", "cannot write", error=text)
            self._error = text
            return
        self._written, self._error = dict(self._routes), None

    def _say_written(self):
        changes, before = 0, self._written or {}
        for route in sorted(set(self._routes) | set(before)):
            had, new = before.get(route, ()), self._routes.get(route, ())
            added, removed, changed = difference(had, new)
            if not (added or removed or changed):
                continue
            changes += 1
            self._log.line("info", "written", route=route, targets=len(new), added=added,
                           removed=removed, changed=changed)
        if not changes:
            self._log.line("info", "written", file=self._file.path, routes=len(self._routes))

    # ---- what probes are told --------------------------------------------------------------------

    def _tell(self):
        ready = self._may_write and self._written is not None and not self._error
        stuck = {name for name, following in self._following.items()
                 if time.monotonic() > following.due}
        failing = sorted(name for name, following in self._following.items() if following.error)
        words = f"{len(self._routes)} routes, {sum(map(len, self._routes.values()))} targets"
        words += "".join(f"; {name} fails" for name in failing)
        words += "".join(f"; {route} refused" for route in sorted(self._refused))
        try:
            self._manager.say(*["READY=1"] * ready, *["WATCHDOG=1"] * (not stuck),
                              f"STATUS={shorten(words)}")
            if self._status_path:
                status.write(self._status_path, self._status(ready, stuck))
            self._status_error = None
        except OSError as error:
            if str(error) != self._status_error:
                self._log.line("error", "cannot tell the status", error=str(error))
            self._status_error = str(error)

    def _status(self, ready, stuck):
        return {
            "epoch": time.time(),
            "output": self._file.path,
            "ready": ready,
            "error": self._error,
            "feeds": [{"name": name, "heard": following.heard, "error": following.error,
                       "notice": following.notice,
                       "answered": following.view is not None, "stuck": name in stuck}
                      for name, following in self._following.items()],
            "routes": {route: {"targets": len(endpoints),
                               "ready": sum(one.state == "ready" and one.weight > 0
                                            for one in endpoints),
                               "refused": self._refused.get(route)}
                       for route, endpoints in sorted(self._routes.items())},
        }
