"""What the tests of the documentation share: the code of a page, and a machine to try it on."""
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 120  # for what takes seconds

# `heading` is the nearest one above, `language` that of the fence: none where the block is indented.
Block = collections.namedtuple("Block", "heading language text")


def code_of(page):
    """All blocks of code of a page, in order."""
    blocks, heading = [], ""
    text = (ROOT / page).read_text()
    pattern = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<fenced>.*?)^ *```$"
                         r"|^#+ (?P<heading>[^\n]*)$"
                         r"|(?<=\n\n)(?P<indented>(?:^    [^\n]*\n|^\n(?=    ))+)", re.MULTILINE | re.DOTALL)
    for found in pattern.finditer(text):
        if found["heading"]:
            heading = found["heading"]
        elif found["indented"]:
            blocks.append(Block(heading, "", textwrap.dedent(found["indented"])))
        else:
            blocks.append(Block(heading, found["language"], textwrap.dedent(found["fenced"])))
    return blocks


def one(blocks, **has):
    """The text of the one block that has this heading, this language, this text in it."""
    fits = [block for block in blocks if all(
        value in block.text if key == "text" else getattr(block, key) == value
        for key, value in has.items())]
    assert len(fits) == 1, f"{len(fits)} blocks have {has}"
    return fits[0].text


# Arguments: a folder for what changes, the program, the checkout; then the command that is run there.
SET_UP = """
place=$1 program=$2 checkout=$3
shift 3
mount --make-rprivate /
mount -t tmpfs none "$place"
mkdir "$place/root"
over() { # FOLDER NAME: it, to be changed at will. The checkout may be a mount, which is not in /.
  mkdir -p "$place/$2/above" "$place/$2/work" "$place/root$1"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$place/$2/above,workdir=$place/$2/work" "$place/root$1"
}
over / system
mount --rbind /dev "$place/root/dev"
mount --rbind /sys "$place/root/sys"
mount -t proc proc "$place/root/proc"
mount -t tmpfs none "$place/root/tmp"
mount -t tmpfs none "$place/root/run"
over "$checkout" checkout
ip link set lo up
cp "$program" "$place/root/usr/local/bin/sallyport"
rm -f "$place/root/usr/bin/sallyport"
rm -rf "$place/root/etc/sallyport"
exec chroot "$place/root" "$@"
"""


def on_a_machine(place, *command, **more):
    """Runs the command on a copy of this machine: its files, users, ports and processes are gone with
    it. /tmp and /run are empty, and the gateway is in the PATH: SALLYPORT names it. `place` is an
    empty folder."""
    return subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/bash", "-euc", SET_UP,
         "bash", place, os.environ["SALLYPORT"], ROOT, *command], text=True,
        env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp",
             "LC_ALL": "C.UTF-8"} | more.pop("env", {}), **more)


NEEDS_ROOT = "needs root, for file system, network and users of its own"


class OnAMachine(unittest.TestCase):
    """Runs what a page says on a copy of this machine."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest(NEEDS_ROOT)

    def run_here(self, script):
        """What bash prints that runs it at the top of the checkout; every command must succeed."""
        with tempfile.TemporaryDirectory(prefix="machine.") as place:
            done = on_a_machine(place, "/bin/bash", "-euo", "pipefail", "-c",
                                f"cd {ROOT} && source /dev/stdin", input=script,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout


def main_on_a_machine():
    """unittest.main(), with the whole program on a copy of this machine."""
    if os.environ.get("ON_A_MACHINE"):
        unittest.main()
    if os.geteuid() != 0:
        sys.exit(f"skipped: {NEEDS_ROOT}")
    with tempfile.TemporaryDirectory(prefix="machine.") as place:
        done = on_a_machine(place, "/usr/bin/python3", str(pathlib.Path(sys.argv[0]).resolve()),
                            *sys.argv[1:], env={"ON_A_MACHINE": "yes", "SALLYPORT": "sallyport"})
    sys.exit(done.returncode)
