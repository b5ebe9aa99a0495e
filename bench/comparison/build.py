"""Packages and binaries."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"


def installed(package):
    status = subprocess.run(["dpkg-query", "-W", "-f=${Status}", package],
                            capture_output=True, text=True, check=False)
    return status.stdout == "install ok installed"


def install(packages):
    """Installs what is missing, without letting a package start its service."""
    missing = [package for package in packages if not installed(package)]
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit("compare: install these first: " + " ".join(missing))
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends"] + missing
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    finally:
        if ours:
            policy.unlink()


def build(targets):
    """Builds targets of preset release; returns the folder of the binaries."""
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, stdout=sys.stderr)
    subprocess.run(["cmake", "--build", str(BUILD), "--target"] + targets, check=True,
                   stdout=sys.stderr)
    return BUILD
