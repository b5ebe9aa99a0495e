"""An initial RAM file system, made on the fly of files of this machine and of a kernel's modules."""

import lzma
import os
import re
import subprocess


class Initramfs:
    """A cpio archive of the "newc" kind, written straight to a file: see the kernel's
    Documentation/driver-api/early-userspace/buffer-format.rst. A path given twice keeps the first.
    """

    def __init__(self, path):
        self._archive = open(path, "wb")
        self._paths = set()

    def directory(self, path):
        path = path.strip("/")
        if path and self._is_new(path):
            self._entry(path, 0o040755)

    def data(self, path, content, mode=0o644):
        if self._is_new(path):
            self._entry(path, 0o100000 | mode, content)

    def symlink(self, path, target):
        if self._is_new(path):
            self._entry(path, 0o120777, target.encode())

    def file(self, source, path=None):
        """A file, with the shared libraries and the loader that it needs to run."""
        with open(source, "rb") as opened:
            content = opened.read()
        self.data(path or os.path.abspath(source), content, os.stat(source).st_mode & 0o777)
        if content.startswith(b"\x7fELF"):
            for library in shared_libraries(source):
                with open(library, "rb") as opened:
                    self.data(library, opened.read(), 0o755)

    def tree(self, source, path=None):
        """A file or a directory with everything below it."""
        path = path or os.path.abspath(source)
        if os.path.islink(source):
            self.symlink(path, os.readlink(source))
        elif os.path.isdir(source):
            self.directory(path)
            for name in sorted(os.listdir(source)):
                self.tree(os.path.join(source, name), os.path.join(path, name))
        else:
            self.file(source, path)

    def close(self):
        self._entry("TRAILER!!!", 0)
        self._archive.close()

    def _is_new(self, path):
        path = path.strip("/")
        if path in self._paths:
            return False
        self.directory(os.path.dirname(path))
        self._paths.add(path)
        return True

    def _entry(self, path, mode, content=b""):
        name = path.strip("/").encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, size, device (2), device of a special file (2),
        # length of the name, checksum
        fields = (len(self._paths), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        for part in (header, content):
            self._archive.write(part + b"\0" * (-len(part) % 4))


def shared_libraries(program):
    """Their paths as the loader will ask for them, the loader's own among them."""
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    if "not found" in listed.stdout:
        raise RuntimeError(f"{program}: libraries are missing:\n{listed.stdout}")
    return re.findall(r"(?:^|=>)\s*(/\S+) \(0x", listed.stdout, re.MULTILINE)


class Modules:
    """The modules of a kernel: a directory with modules.dep and modules.builtin."""

    def __init__(self, directory):
        self._directory = directory
        self._needs = {}
        self._path = {}
        with open(os.path.join(directory, "modules.dep")) as lines:
            for line in lines:
                path, needed = line.rstrip("\n").split(":")
                self._needs[path] = needed.split()
                self._path[module_name(path)] = path
        with open(os.path.join(directory, "modules.builtin")) as lines:
            self._builtin = {module_name(line.rstrip("\n")) for line in lines}

    def has(self, name):
        """Whether there is a module of this name to be loaded."""
        return module_name(name) in self._path

    def builtin(self, name):
        return module_name(name) in self._builtin

    def in_order(self, names):
        """Paths of these and of everything that they need, each behind what it needs."""
        ordered = []
        for name in names:
            path = self._path[module_name(name)]
            # modules.dep lists all that is needed, directly or not, the innermost last.
            for each in reversed([path] + self._needs[path]):
                if each not in ordered:
                    ordered.append(each)
        return ordered

    def read(self, path):
        """A module as insmod wants it: not compressed."""
        with open(os.path.join(self._directory, path), "rb") as opened:
            content = opened.read()
        return lzma.decompress(content) if path.endswith(".xz") else content


def module_name(path):
    return os.path.basename(path).split(".ko")[0].replace("-", "_")
