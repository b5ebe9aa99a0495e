"""Becomes a program of a root file system, as container runtimes do it: read-only, as a user without
capabilities or new privileges, under a seccomp profile. In a mount namespace of its own:

    unshare --mount contained.py ROOT PROFILE FOLDER PROGRAM [ARGUMENT]...

FOLDER is seen as /run/config, and the one place to write to is /run/state. This process becomes the program."""
import ctypes
import json
import os
import subprocess
import sys

USER = 65532
# seccomp.h of libseccomp
ACTIONS = {"SCMP_ACT_ALLOW": 0x7fff0000, "SCMP_ACT_ERRNO": 0x00050000}
COMPARISONS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
NO_SUCH_CALL = -1
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24


class Comparison(ctypes.Structure):
    _fields_ = [("index", ctypes.c_uint), ("operation", ctypes.c_int), ("first", ctypes.c_uint64),
                ("second", ctypes.c_uint64)]


def action_of(rule, action, errno):
    return ctypes.c_uint32(ACTIONS[rule[action]] + (rule.get(errno, 0) & 0xffff))


def load(profile):
    """The filter of an OCI seccomp profile, for this architecture."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(action_of(profile, "defaultAction", "defaultErrnoRet")))
    for rule in profile["syscalls"]:
        comparisons = [Comparison(each["index"], COMPARISONS[each["op"]], each["value"],
                                  each.get("valueTwo", 0)) for each in rule.get("args", [])]
        array = (Comparison * len(comparisons))(*comparisons)
        for name in rule["names"]:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number == NO_SUCH_CALL:
                sys.exit(f"the profile names {name}, which is no system call")
            if number < 0:  # of other architectures
                continue
            failed = seccomp.seccomp_rule_add_array(rules, action_of(rule, "action", "errnoRet"), number,
                                                    len(comparisons), array)
            if failed:
                sys.exit(f"no rule for {name}: {os.strerror(-failed)}")
    if failed := seccomp.seccomp_load(rules):
        sys.exit(f"the filter was not taken: {os.strerror(-failed)}")


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def main(root, profile, folder, *command):
    with open(profile) as text:
        profile = json.load(text)
    mount("--bind", root, root)
    mount("-t", "proc", "proc", f"{root}/proc")
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/run")
    os.mkdir(f"{root}/run/config")
    os.mkdir(f"{root}/run/state", 0o700)
    os.chown(f"{root}/run/state", USER, USER)
    mount("--bind", folder, f"{root}/run/config")
    mount("-o", "remount,bind,ro", f"{root}/run/config")
    mount("-o", "remount,bind,ro", root)
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.CDLL("libseccomp.so.2")
    os.chroot(root)
    os.chdir("/")
    with open("/proc/sys/kernel/cap_last_cap") as last:
        for capability in range(int(last.read()) + 1):
            assert libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, os.strerror(ctypes.get_errno())
    load(profile)
    os.execve(command[0], command, {})


if __name__ == "__main__":
    main(*sys.argv[1:])
