"""What the feeders' tests share: the program, its file and its log; an HTTP server with faults;
certificates; etcd. Everything waits for a condition, and what was started is ended by its id."""
import collections
import contextlib
import http.server
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[3]
DISCOVERY = ROOT / "deploy" / "discovery"
PROGRAM = DISCOVERY / "sallyport-discovery"
sys.path.insert(0, str(DISCOVERY))

PATIENCE_S = 60  # until something that takes far less counts as missing


def wait_until(what, condition, explain=lambda: "", patience_s=PATIENCE_S, pause_s=0.01):
    """The first true value of `condition`."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"in {patience_s} s not: {what}\n{explain()}")
        time.sleep(pause_s)
    return value


def routes_of(text):
    """{route: {target: its labels but `route`}} of a discovery file's text, read by other code than
    wrote it."""
    routes = {}
    for group in json.loads(text):
        assert set(group) == {"targets", "labels"}, group
        labels = dict(group["labels"])
        targets = routes.setdefault(labels.pop("route"), {})
        for target in group["targets"]:
            assert target not in targets, f"{target} is there twice"
            targets[target] = labels
    return routes


class Feeder:
    """The program as a process of its own."""

    def __init__(self, folder, *arguments, output="services.json", environment=None):
        self.output = pathlib.Path(folder) / output
        self.status_file = pathlib.Path(folder) / "status.json"
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [PROGRAM, *arguments, "--output", self.output, "--status-file", self.status_file,
             "--longest-pause", "200ms"],
            stdin=subprocess.DEVNULL, stderr=self.log, env=os.environ | (environment or {}))

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def said(self):
        with open(f"/proc/self/fd/{self.log.fileno()}") as text:
            return text.read()

    def lines(self, **members):
        """The lines of the log that have these members; a string may be a part of the value."""
        # The last one may not be whole yet.
        lines = [json.loads(line) for line in self.said().split("\n")[:-1]]
        return [line for line in lines if all(
            value in line.get(key, "") if isinstance(value, str) else line.get(key) == value
            for key, value in members.items())]

    def routes(self):
        try:
            return routes_of(self.output.read_text())
        except FileNotFoundError:
            return None

    def wait_routes(self, expected):
        wait_until(f"the file has {expected}", lambda: self.routes() == expected,
                   lambda: f"but {self.routes()}\n{self.said()}")

    def wait_line(self, count=1, **members):
        """The last of at least so many lines."""
        return wait_until(f"{count} lines with {members}",
                          lambda: len(self.lines(**members)) >= count and self.lines(**members),
                          self.said)[-1]

    def wait_refused(self, route, count=1, **members):
        """Until so many refusals of the route are said, and the status, which follows the line, says it."""
        self.wait_line(count=count, message="refused", route=route, **members)
        wait_until(f"{route} is refused", lambda: self.status()["routes"][route]["refused"])

    def wait_taken(self, route):
        wait_until(f"{route} is no longer refused",
                   lambda: not self.status()["routes"][route]["refused"])

    def status(self):
        return json.loads(self.status_file.read_text())

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self):
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running\n" + self.said()) from None


def run_program(*arguments):
    """(exit code, stdout, stderr) of one that ends by itself."""
    done = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=PATIENCE_S, env={"PATH": os.environ["PATH"]})
    return done.returncode, done.stdout, done.stderr


class Scenario(unittest.TestCase):
    """A folder, and feeders in it that end with the test."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sallyport-discovery."))
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, *arguments, **more):
        feeder = Feeder(self.folder, *arguments, **more)
        self.addCleanup(feeder.close)
        return feeder

    def write(self, name, content):
        path = self.folder / name
        path.write_text(content)
        return path

    def stop(self, feeder):
        feeder.signal(signal.SIGTERM)
        self.assertEqual(feeder.wait_exit(), 0, feeder.said())
        self.assertEqual(feeder.lines(level="error", message="defect"), [])


# ---- an HTTP server with faults ------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE_S

    def do_GET(self):  # and POST
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.fake.serve(self)

    do_POST = do_GET

    def log_message(self, *_):
        pass

    def reply(self, content, status=200, headers=()):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self):
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        # A client that leaves is none of ours; anything else is a defect of the test.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            self.fake.defects.append(traceback.format_exc())


class FakeServer:
    """Answers as its class says. `faults`: each of them answers one request instead. `requests`:
    (path with query, headers) of all. `changed` guards what the handlers' threads read."""

    def __init__(self, test):
        self.faults = collections.deque()
        self.requests = []
        self.changed = threading.Condition()
        self.closing = False
        self.defects = []
        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        test.addCleanup(self.close)

    def close(self):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self.defects:
            raise AssertionError("\n".join(self.defects))

    def serve(self, handler):
        with self.changed:
            self.requests.append((handler.path, handler.headers))
            fault = self.faults.popleft() if self.faults else None
            self.changed.notify_all()
        (fault or self.answer)(handler)

    def speak_tls(self, context):
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def fail_with(self, *faults):
        """The next requests end so."""
        with self.changed:
            self.faults.extend(faults)


def status_fault(status, *headers):
    return lambda handler: handler.reply({"message": "no"}, status, headers)


def body_fault(body, *headers):
    return lambda handler: handler.reply(body, 200, headers)


def cut(body, *headers):
    """Says more than it sends."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body) + 100))
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.hang_up()
    return answer


def has_left(handler):
    """Whether the client has closed; it sends nothing more otherwise."""
    readable, _, _ = select.select([handler.connection], [], [], 0)
    return bool(readable)


def hang_up(handler):
    handler.hang_up()


def hang_up_within(body, *headers):
    """Of an answer in chunks."""
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.chunk(body)
        handler.hang_up()
    return answer


# ---- certificates --------------------------------------------------------------------------------


class Authority:
    """A CA made by openssl(1), and certificates of it."""

    def __init__(self, folder, name="authority"):
        self._folder = pathlib.Path(folder)
        self.file = self._folder / f"{name}.pem"
        self._key = self._folder / f"{name}.key"
        # Python 3.13 wants to know what an authority's key is for.
        self._openssl("req", "-x509", "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key,
                      "-out", self.file, "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name, alternative_names):
        """(certificate, key): files."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        self._openssl("req", "-subj", f"/CN={name}", "-keyout", key, "-out", request,
                      "-addext", f"subjectAltName={alternative_names}")
        subprocess.run(["openssl", "x509", "-req", "-in", request, "-days", "2", "-CA", self.file,
                        "-CAkey", self._key, "-CAcreateserial", "-copy_extensions", "copyall",
                        "-out", certificate], check=True, capture_output=True)
        return certificate, key

    @staticmethod
    def _openssl(command, *arguments):
        subprocess.run(["openssl", command, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", *arguments], check=True, capture_output=True)


# ---- etcd ----------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Etcd:
    """One member, as a process. It keeps its ports and its data over restarts."""

    def __init__(self, test, folder, tls=None):
        """`tls`: (certificate, key, authority); then clients need a certificate."""
        self._folder = pathlib.Path(folder)
        self._log = open(self._folder / "etcd.log", "w+b")
        self._process = None
        self._tls = tls
        test.addCleanup(self.close)
        # Another program may take a port before etcd has it.
        for attempt in range(5):
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{free_port()}"
            self._peer = f"http://127.0.0.1:{free_port()}"
            if self.start():
                return
        raise AssertionError(self._said())

    def start(self):
        """Whether it has come up."""
        tls = []
        if self._tls:
            certificate, key, authority = self._tls
            tls = ["--cert-file", certificate, "--key-file", key, "--client-cert-auth",
                   "--trusted-ca-file", authority]
        self._process = subprocess.Popen(
            ["etcd", "--data-dir", self._folder / "etcd", "--listen-client-urls", self.url,
             "--advertise-client-urls", self.url, "--listen-peer-urls", self._peer,
             "--initial-advertise-peer-urls", self._peer, "--initial-cluster",
             f"default={self._peer}", *tls],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

        def up():
            return self._process.poll() is not None or self._answers()
        wait_until("etcd answers or ends", up, self._said)
        return self._process.poll() is None

    def kill(self):
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def close(self):
        self.kill()
        self._log.close()

    def ctl(self, *arguments, check=True):
        """etcdctl(1); its output."""
        tls = []
        if self._tls:
            tls = ["--cert", self._tls[0], "--key", self._tls[1], "--cacert", self._tls[2]]
        done = subprocess.run(["etcdctl", "--endpoints", self.url, *tls, *arguments],
                              env=os.environ | {"ETCDCTL_API": "3"}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=PATIENCE_S)
        if check and done.returncode:
            raise AssertionError(f"etcdctl {arguments}: {done.stderr}")
        return done.stdout if check else done.returncode == 0

    def put(self, key, value, *more):
        self.ctl("put", *more, "--", key, value)

    def delete(self, key, *more):
        self.ctl("del", *more, "--", key)

    def revision(self):
        return json.loads(self.ctl("get", "x", "-w", "json"))["header"]["revision"]

    def _answers(self):
        return self.ctl("endpoint", "health", "--command-timeout=1s", check=False)

    def _said(self):
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-4000:]
