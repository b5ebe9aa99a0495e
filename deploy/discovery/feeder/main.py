"""The command line."""
import argparse
import importlib
import os
import re
import sys

from . import status
from .client import BadUrl
from .discovery_file import DiscoveryFile, NotOurs
from .log import Log
from .options import BadOption, duration_s, percent
from .routes import Limits
from .run import Feeder

PROGRAM = "sallyport-discovery"
SOURCES = ("etcd", "srv", "consul", "kubernetes")
USAGE = f"""usage: {PROGRAM} SOURCE --output FILE [options]
       {PROGRAM} --config FILE
       {PROGRAM} status FILE [--alive] [--patience DURATION]

SOURCE is one of {", ".join(SOURCES)}; `{PROGRAM} SOURCE --help` lists its options.
A configuration file has `name = value` a line: `source`, and options without their dashes.
`status` judges a --status-file: exit 0 all is well, 1 it is not, with the reasons.

Exit: 0 ended by a signal, or --once is done; 1 anything else; 2 bad command line or configuration.
Signals: SIGTERM and SIGINT end it; SIGUSR1 accepts what is refused at the moment, once.
"""
_SETTING = re.compile(r"\s*([a-z][a-z-]*)\s*=\s*(.*?)\s*")
_SWITCHES = ("allow-empty", "allow-unix", "all-priorities", "once")


def main(argv):
    try:
        if argv[:1] == ["--config"] and len(argv) == 2:
            argv = read_config(argv[1])
        if not argv or argv[0] in ("--help", "-h"):
            print(USAGE, end="", file=sys.stdout if argv else sys.stderr)
            return 0 if argv else 2
        if argv[0] == "status":
            return probe(argv[1:])
        return feed(argv[0], argv[1:])
    except (BadOption, BadUrl, NotOurs) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2


def read_config(path):
    """The command line that a configuration file stands for."""
    source, options = None, []
    try:
        with open(path, encoding="utf-8") as file:
            lines = list(file)
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"{path}: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        setting = _SETTING.fullmatch(line)
        if not setting:
            raise BadOption(f"{path}:{number}: not 'name = value'")
        name, value = setting.groups()
        if name == "source":
            if source:
                raise BadOption(f"{path}:{number}: a second source")
            source = value
        elif name not in _SWITCHES:
            options.append(f"--{name}={value}")
        elif value in ("true", "false"):
            options += [f"--{name}"] * (value == "true")
        else:
            raise BadOption(f"{path}:{number}: {name} is true or false")
    if not source:
        raise BadOption(f"{path}: 'source' is missing")
    return [source, *options]


def probe(argv):
    parser = argparse.ArgumentParser(f"{PROGRAM} status", allow_abbrev=False)
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--alive", action="store_true",
                        help="only whether the process makes progress, whatever the source does")
    parser.add_argument("--patience", metavar="DURATION", type=duration_s, default=300,
                        help="how long a source may fail (default 5m)")
    arguments = parser.parse_args(argv)
    problems = status.judge(arguments.file, arguments.alive, arguments.patience)
    print("\n".join(problems) or "good")
    return 1 if problems else 0


def prepare(name, argv):
    """(arguments, feeds) of a source's command line."""
    if name not in SOURCES:
        raise BadOption(f"'{name}' is no source: one of {', '.join(SOURCES)}")
    try:
        source = importlib.import_module(f".{name}", __package__)
    except ModuleNotFoundError as error:
        if error.name != "dns":
            raise
        raise BadOption(f"{name} needs dnspython: apt-get install python3-dnspython") from None
    parser = argparse.ArgumentParser(f"{PROGRAM} {name}", description=source.__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    source.add_arguments(parser)
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    return arguments, source.feeds(arguments)


def feed(name, argv):
    arguments, feeds = prepare(name, argv)
    log, file = Log(arguments.log_format), DiscoveryFile(arguments.output)
    try:
        file.lock()
        feeder = Feeder(feeds, file, Limits(arguments.allow_empty, arguments.max_removal), log,
                        status.ServiceManager(os.environ), arguments.status_file, arguments.once,
                        arguments.longest_pause)
        return feeder.run()
    except BlockingIOError:
        log.line("error", "another feeder writes this file", file=file.path)
    except OSError as error:
        log.line("error", "cannot go on", error=str(error))
    return 1


def add_arguments(parser):
    """Those of every source."""
    parser.add_argument("--output", metavar="FILE", required=True, help="the discovery file")
    parser.add_argument("--allow-empty", action="store_true",
                        help="a route that had endpoints may be left with none")
    parser.add_argument("--max-removal", metavar="PERCENT", type=percent, default=100,
                        help="refuse a change that leaves a route with fewer endpoints by more "
                        "than this (default %(default)s)")
    parser.add_argument("--once", action="store_true",
                        help="end when the source has answered and the file is written")
    parser.add_argument("--status-file", metavar="FILE", help="for `status`")
    parser.add_argument("--longest-pause", metavar="DURATION", type=duration_s, default=30,
                        help="between two tries (default 30s)")
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
