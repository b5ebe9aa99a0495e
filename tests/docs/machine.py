"""What the tests of the documentation share: the code of a page, and a machine to try it on."""
import collections
import os
import pathlib
import re
import shutil
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


SET_UP = """
mount --make-rprivate /
mount -t tmpfs none "$1"
mkdir "$1/above" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/above,workdir=$1/work" "$1/root"
mount --rbind /dev "$1/root/dev"
mount --rbind /sys "$1/root/sys"
mount -t proc proc "$1/root/proc"
mount -t tmpfs none "$1/root/tmp"
mount -t tmpfs none "$1/root/run"
ip link set lo up
cp "$2" "$1/root/usr/local/bin/sallyport"
rm -f "$1/root/usr/bin/sallyport"
rm -rf "$1/root/etc/sallyport"
exec chroot "$1/root" /bin/bash -euo pipefail -c 'cd "$1" && source /dev/stdin' bash "$3"
"""


class OnAMachine(unittest.TestCase):
    """Runs what a page says on a copy of this machine: its files, users, ports and processes are gone
    with the test. The program is in the PATH; SALLYPORT names it."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root, for file system, network and users of its own")

    def run_here(self, script, folder=ROOT):
        """What bash prints that runs it in this folder; every command must succeed."""
        place = tempfile.mkdtemp(prefix="machine.")
        self.addCleanup(shutil.rmtree, place)
        done = subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "/bin/bash", "-euc",
             SET_UP, "bash", place, os.environ["SALLYPORT"], folder],
            input=script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE_S, env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                     "HOME": "/tmp", "LC_ALL": "C.UTF-8"})
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout
