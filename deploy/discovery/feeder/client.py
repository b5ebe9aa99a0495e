"""HTTP for the sources: every read has a timeout, every answer a bound, a redirect is an error.
A connection for each exchange, so that renewed certificates and tokens are used at once."""
import contextlib
import http.client
import ipaddress
import socket
import ssl
import time
import urllib.parse

from .checked import parse_json
from .endpoint import Invalid
from .follow import SourceError

CONNECT_TIMEOUT_S = 10
MAX_ANSWER_BYTES = 64 << 20
MAX_LINE_BYTES = 16 << 20
MAX_SECRET_BYTES = 64 << 10
WHOLE_ANSWER_S = 60  # from its first byte to its last


class HttpError(SourceError):
    """Another status than 200."""

    def __init__(self, text, status, retry_after_s=0):
        super().__init__(text, retry_after_s)
        self.status = status


class Silence(SourceError):
    """Nothing came for as long as was asked for."""


class BadUrl(ValueError):
    pass


def read_secret(path):
    """One line of a file, read anew each time because tokens are rotated."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or len(content) > MAX_SECRET_BYTES:
        raise SourceError(f"{path}: is not one line of ASCII")
    return text


class Server:
    """Where requests go. `url`: http(s)://HOST[:PORT][/PATH]; raises BadUrl. The files of the
    certificate authorities (None: the system's), the client's certificate and key are PEM."""

    def __init__(self, url, ca_file=None, cert_file=None, key_file=None):
        if any(sign in url for sign in "@?#"):  # it may have a secret, which is not repeated
            raise BadUrl("a URL has no user, no query and no fragment here")
        try:
            parts = urllib.parse.urlsplit(url)
            self._host, port = parts.hostname, parts.port
        except ValueError as error:
            raise BadUrl(f"{url}: {error}") from None
        if parts.scheme not in ("http", "https") or not self._host:
            raise BadUrl(f"{url}: is not http(s)://HOST[:PORT]")
        self._tls = parts.scheme == "https"
        self._port = port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/")
        self._ca_file, self._cert_file, self._key_file = ca_file, cert_file, key_file
        self.name = f"{parts.scheme}://{parts.netloc}"

    def keeps_secrets(self):
        """Whether a token that goes there can be read on the way by nobody."""
        if self._tls or self._host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return False

    @contextlib.contextmanager
    def exchange(self, method, path, query=(), headers=None, body=None, silence_s=30):
        """One request; the Answer, if the status is 200, is valid inside of the `with`. No read
        waits longer than silence_s. Raises SourceError; of what happens inside as well."""
        connection = None
        try:
            target = self._path + path + ("?" + urllib.parse.urlencode(query) if query else "")
            connection = self._connection()
            connection.connect()
            _set_up(connection.sock, silence_s)
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            if response.status != 200:
                raise self._refused(response)
            yield Answer(self.name, response)
        except TimeoutError as error:
            raise Silence(f"{self.name}: {error}") from error
        # UnicodeError: a host name that IDNA has no form for, or what UTF-8 has none for.
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise SourceError(f"{self.name}: {_words(error)}") from error
        finally:
            if connection:
                connection.close()

    def _connection(self):
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
            if self._cert_file:
                # A key with a passphrase is an error, not a question at the terminal.
                context.load_cert_chain(self._cert_file, self._key_file, password=lambda: "")
        except OSError as error:  # which names no file
            files = filter(None, (self._ca_file, self._cert_file, self._key_file))
            raise SourceError(f"{', '.join(files)}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 refuses CAs without key usage, which private ones often lack, and takes an
        # intermediate for an anchor: one rule for every release, OpenSSL's own.
        context.verify_flags = ssl.VERIFY_X509_TRUSTED_FIRST
        return http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S,
                                           context=context)

    def _refused(self, response):
        text = f"{self.name}: HTTP {response.status}"
        if 300 <= response.status < 400:
            return HttpError(text + ", a redirect, which is not followed", response.status)
        said = response.read1(2000).decode(errors="replace")
        after = response.headers.get("Retry-After", "")
        after_s = int(after) if after.isdecimal() and len(after) < 6 else 0
        return HttpError(f"{text} {said}", response.status, after_s)


def _set_up(channel, silence_s):
    channel.settimeout(silence_s)
    # A peer that is gone without a word is noticed within a minute, whatever silence is allowed.
    for level, option, value in ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
                                 (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)):
        channel.setsockopt(level, option, value)


def _words(error):
    """Exceptions of http.client say little by themselves."""
    if isinstance(error, http.client.IncompleteRead):
        return "the connection has ended within the answer"
    if isinstance(error, http.client.HTTPException):
        return f"{type(error).__name__} {error}"
    return error


class Answer:
    def __init__(self, name, response):
        self._name, self._response = name, response
        self.headers = response.headers

    def json(self):
        """The body, whole and nothing but one JSON value. Raises SourceError, as lines() does."""
        whole, deadline = bytearray(), time.monotonic() + WHOLE_ANSWER_S
        for piece in self._pieces():
            whole += piece
            if len(whole) > MAX_ANSWER_BYTES:
                raise SourceError(f"{self._name}: the answer has over {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise SourceError(f"{self._name}: the answer takes over {WHOLE_ANSWER_S} s")
        return self._parse(bytes(whole))

    def lines(self):
        """The JSON values of a stream, one a line, as they come; ends where the stream ends well."""
        line = bytearray()
        for piece in self._pieces():
            first, *more = piece.split(b"\n")
            line += first
            for start in more:
                if line.strip():
                    yield self._parse(bytes(line))
                line = bytearray(start)
            if len(line) > MAX_LINE_BYTES:
                raise SourceError(f"{self._name}: a line is longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            raise SourceError(f"{self._name}: the stream ends within a line")

    def _pieces(self):
        while piece := self._response.read1(65536):
            yield piece
        # read1() takes the end of the connection for the end of the body.
        if self._response.length:
            raise SourceError(f"{self._name}: the answer is cut, {self._response.length} bytes lack")

    def _parse(self, text):
        try:
            return parse_json(text)
        except Invalid as invalid:
            raise SourceError(f"{self._name}: {invalid}") from None
