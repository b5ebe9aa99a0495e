"""Contenders in a guest with kernel TLS (tests/vm/run): what a script there says of one of them."""
import dataclasses
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

from comparison import build

RUN = build.ROOT / "tests" / "vm" / "run"
PORT, BACKEND_PORT = 9443, 9444  # the guest is ours alone
BACKEND_PORTS = {"port": BACKEND_PORT, "tls_port": 9445, "tls_full_port": 9446}

# The load programs' words for one figure are put behind `load`. A contender that does not come up,
# or a load that fails, ends the guest.
PROLOGUE = """set -u
# The kernel's timers collect the keepalive probes of two seconds into one moment: more segments from
# tens of thousands of connections than the thousand that the loopback has room for by default.
sysctl -qw net.core.netdev_max_backlog=1000000
{tools}/sallyport-backend {backend_options} >/dev/null &
setsid {contender} >/dev/null 2>/tmp/contender &
contender=$!
listening=$(printf '^ *[0-9]*: [0-9A-F]*:%04X [0-9A-F]*:0000 0A' {port})
until grep -q "$listening" /proc/net/tcp; do
  if ! kill -0 $contender; then cat /tmp/contender; exit 1; fi
  usleep 10000
done
sleep 5  # what the kernel puts off at its start would be counted; idle time costs nothing
load() {{
  {load_command} "$@" {load_options}
}}
# NAME, then the words for the load program.
figure() {{
  local name=$1
  shift
  if ! load "$@" --machine >/tmp/report; then
    cat /tmp/report /tmp/contender
    exit 1
  fi
  echo "figure $name $(cat /tmp/report)"
}}
# The same under perf(1), which samples by the guest's clock: by instructions.
profile() {{
  local name=$1 workers
  shift
  workers=$(cat /proc/$contender/task/$contender/children)
  perf record -q -F 20000 -e cpu-clock -o /tmp/perf.data -p "$(echo $contender $workers | tr " " ,)" \\
    -- {load_command} "$@" {load_options} >/tmp/perf.log 2>&1 || cat /tmp/perf.log
  for keys in dso dso,symbol; do
    perf report -i /tmp/perf.data --stdio -q --sort $keys --percent-limit 0.3 2>/dev/null |
      tr -s ' '
  done >"/out/$name"
}}
# NAME COUNT, then more words: so many idle connections, held by a process of their own until it is
# released; what it reports of them is a figure of that name.
hold() {{
  local name=$1 count=$2
  shift 2
  {load_command} idle --connections $count --hold 1000000 --opening 16 "$@" {load_options} \
    >/tmp/$name &
  echo $! >/tmp/$name.pid
  until [ -s /tmp/$name ]; do
    if ! kill -0 $!; then cat /tmp/contender; exit 1; fi
    usleep 100000
  done
  echo "figure $name $(cat /tmp/$name)"
}}
release() {{
  local holder=$(cat /tmp/$1.pid)
  kill $holder
  if ! wait $holder; then echo "idle connections were lost"; exit 1; fi
}}
memory() {{
  echo "memory $1 $(grep -E '^(MemFree|Slab|SUnreclaim|KernelStack|PageTables|Percpu):' /proc/meminfo |
    tr -s ' \\n' ' ')"
}}
"""
EPILOGUE = """
if [ -e /proc/net/tls_stat ]; then echo "tls $(tr -s '\\t \\n' ' ' </proc/net/tls_stat)"; fi
if ! kill -0 $contender; then cat /tmp/contender; exit 1; fi
"""


@dataclasses.dataclass
class Said:
    """figures[name]: the load program's reports, one a round; memory[when]: KiB by name."""
    figures: dict = dataclasses.field(default_factory=dict)
    memory: dict = dataclasses.field(default_factory=dict)
    tls: dict = dataclasses.field(default_factory=dict)
    kernel: str = ""


def pairs(words):
    return {name.rstrip(":"): int(value) for name, value in zip(words[::2], words[1::2])}


class Guest:
    def __init__(self, kernel, tools, pki, profiles=None, verbose=False):
        self.kernel, self.tools, self.pki, self.verbose = kernel, tools, pki, verbose
        self.profiles = profiles

    def files(self, peer, command, hop):
        """What the contender needs, at the same paths in the guest."""
        load = [self.tools / name for name in ("sallyport-load", "sallyport-backend")]
        perf = ["/usr/bin/perf=/bin/perf"] if self.profiles else []
        return [*load, command[0], *peer.files, *perf, hop.folder, self.pki.root.parent]

    def run(self, peer, hop, script, counted, memory=1024, timeout=1800, backend_options=""):
        """Runs `script` beside the contender; raises RuntimeError when anything went wrong."""
        shutil.rmtree(hop.folder, ignore_errors=True)
        hop.folder.mkdir(parents=True)
        command = [str(word) for word in peer.command(hop)]
        command[0] = shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin") or command[0]
        client = peer.client or ("lean" if hop.legs.client_tls else "plain")
        backend = ["--cert", self.pki.backend_chain, "--key", self.pki.backend_key]
        backend += [word for name, port in BACKEND_PORTS.items()
                    for word in (f"--{name.replace('_', '-')}", port)]
        whole = PROLOGUE.format(
            tools=self.tools, contender=shlex.join(command), port=PORT,
            backend_options=" ".join(map(str, backend)) + " " + backend_options,
            load_command=self.tools / "sallyport-load",
            load_options=f"--connect 127.0.0.1:{PORT} --pid $contender --sources 8 "
                         f"--cert {self.pki.client_chain} --key {self.pki.client_key} "
                         f"--client {client}") + script + EPILOGUE
        (hop.folder / "script").write_text(whole)
        words = [RUN, "--mem", memory, "--timeout", timeout]
        words += ["--icount"] if counted else []
        if self.profiles:
            words += ["--out", self.profiles / f"{self.kernel}-{peer.name}"]
        for path in self.files(peer, command, hop):
            words += ["--add", path]
        words += [self.kernel, "sh", hop.folder / "script"]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                              check=False)
        if self.verbose:
            print(done.stdout, file=sys.stderr)
        if done.returncode != 0:
            raise RuntimeError(f"{peer.name} on {self.kernel}: status {done.returncode}: " +
                               (done.stdout + done.stderr).strip()[-1500:])
        return self.parse(done.stdout)

    @staticmethod
    def parse(output):
        said = Said()
        for line in output.splitlines():
            words = line.split()
            if line.startswith("figure "):
                said.figures.setdefault(words[1], []).append(json.loads(line.split(None, 2)[2]))
            elif line.startswith("memory "):
                said.memory[words[1]] = pairs([word for word in words[2:] if word != "kB"])
            elif line.startswith("tls "):
                said.tls = pairs(words[1:])
        return said
