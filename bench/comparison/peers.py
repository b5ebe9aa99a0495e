"""The contenders: what to install, how each is told to be the same hop. A new peer is one class.

The client offers one version, one suite and one group, so that these need no word here but for the
least version (Hop.min_tls). Session tickets are on everywhere, as stateless tickets with each program's default number.
"""
import json
import pathlib
import subprocess


class Peer:
    name = ""
    packages = []
    files = []     # what it loads while it runs, beside its libraries
    idle_connections = 9500  # two descriptors a connection, 20,000 to a process
    client = None  # TLS of the load generator, where not the one asked for
    tools = None   # set by bench/compare: where the load programs are

    def command(self, hop):
        """Writes the configuration into hop.folder and returns the command line; it must stay in
        the foreground, and its children must stay its children."""
        raise NotImplementedError

    def version(self):
        package = self.packages[0]
        shown = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package],
                               capture_output=True, text=True, check=False)
        return shown.stdout


class Sallyport(Peer):
    idle_connections = 10000

    def __init__(self, binary, more, name="sallyport"):
        self.binary = pathlib.Path(binary).resolve()
        self.more = more
        self.name = name

    def command(self, hop):
        discovery = hop.folder / "discovery.json"
        targets = [f"127.0.0.{i + 1}:{hop.backend_port}" for i in range(hop.backends)]
        discovery.write_text(json.dumps([{"targets": targets, "labels": {"route": "bench"}}]))
        # One ring carries 20,000 registered descriptors, which 10,000 connections would fill.
        shards = "2" if hop.idle and hop.idle > 9500 else "1"
        return [str(self.binary), "--listen", f"127.0.0.1:{hop.port}",
                "--cert", hop.pki.server_chain, "--key", hop.pki.server_key,
                "--ca", hop.pki.root, "--allow-any-verified", "--discovery", discovery,
                *(["--min-tls", "1.2"] if hop.min_tls == "1.2" else []),
                "--shards", shards, "--admin", f"127.0.0.1:{hop.admin_port}", *self.more]

    def version(self):
        shown = subprocess.run([self.binary, "--version"], capture_output=True, text=True,
                               check=False)
        return shown.stdout.split("\n")[0].removeprefix("sallyport ")


class Haproxy(Peer):
    name = "haproxy"
    packages = ["haproxy"]

    def command(self, hop):
        config = hop.folder / "haproxy.cfg"
        config.write_text(f"""
global
  nbthread 1
  maxconn 9900
  ssl-default-bind-options ssl-min-ver TLSv{hop.min_tls}
defaults
  mode tcp
  timeout client 1h
  timeout server 1h
  timeout connect 5s
listen hop
  bind 127.0.0.1:{hop.port} ssl crt {hop.pki.server_all} ca-file {hop.pki.root} verify required
  server backend 127.0.0.1:{hop.backend_port}
""")
        return ["haproxy", "-db", "-f", config]


class Nginx(Peer):
    name = "nginx"
    packages = ["nginx", "libnginx-mod-stream"]
    files = ["/usr/lib/nginx/modules/ngx_stream_module.so"]
    more = ""

    def command(self, hop):
        config = hop.folder / "nginx.conf"
        config.write_text(f"""
load_module {self.files[0]};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {hop.folder}/nginx.pid;
error_log {hop.folder}/error.log;
events {{ worker_connections 19900; }}
stream {{
  server {{
    listen 127.0.0.1:{hop.port} ssl backlog=4096;
    proxy_pass 127.0.0.1:{hop.backend_port};
    proxy_timeout 1h;
    ssl_protocols {hop.protocols()};
    ssl_certificate {hop.pki.server_chain};
    ssl_certificate_key {hop.pki.server_key};
    ssl_client_certificate {hop.pki.root};
    ssl_verify_client on;
    ssl_verify_depth 2;
    {self.more}
  }}
}}
""")
        return ["nginx", "-p", hop.folder, "-c", config]


class NginxKtls(Nginx):
    """With OpenSSL's own kernel TLS: of TLS 1.3 it hands over the sending direction."""
    name = "nginx-ktls"
    more = "ssl_conf_command Options KTLS;"


class Hitch(Peer):
    name = "hitch"
    packages = ["hitch"]

    def command(self, hop):
        config = hop.folder / "hitch.conf"
        config.write_text(f"""
frontend = "[127.0.0.1]:{hop.port}"
backend = "[127.0.0.1]:{hop.backend_port}"
pem-file = "{hop.pki.server_all}"
client-verify = required
client-verify-ca = "{hop.pki.root}"
tls-protos = {hop.protocols()}
workers = 1
backlog = 4096
daemon = off
quiet = on
user = "nobody"
group = "nogroup"
""")
        return ["hitch", f"--config={config}"]


class Stunnel(Peer):
    name = "stunnel"
    packages = ["stunnel4"]

    def command(self, hop):
        config = hop.folder / "stunnel.conf"
        config.write_text(f"""
foreground = quiet
debug = err
pid =
[hop]
accept = 127.0.0.1:{hop.port}
connect = 127.0.0.1:{hop.backend_port}
cert = {hop.pki.server_chain}
key = {hop.pki.server_key}
CAfile = {hop.pki.root}
verifyChain = yes
requireCert = yes
sslVersionMin = TLSv{hop.min_tls}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
""")
        return ["stunnel4", config]


class Plain(Peer):
    """No TLS: the floor. Its handshake is TCP's."""
    name = "plain"
    client = "plain"

    def command(self, hop):
        return [self.tools / "sallyport-relay", hop.port, hop.backend_port]

    def version(self):
        return "recv and send"


PEERS = {peer.name: peer for peer in (Haproxy, Nginx, Hitch, Stunnel, Plain)}
