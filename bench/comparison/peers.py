"""The contenders: what to install, how each is told to be the same hop. A new peer is one class.

The client offers one version, one suite and one group, so that these need no word here but for the
least version (Hop.min_tls). Session tickets are on everywhere, as stateless tickets with each program's default number.
"""
import json
import pathlib
import subprocess

from comparison import legs


class Peer:
    name = ""
    packages = []
    files = []     # what it loads while it runs, beside its libraries
    idle_connections = 9500  # two descriptors a connection, 20,000 to a process
    client = None  # TLS of the load generator, where not the one asked for
    tools = None   # set by bench/compare: where the load programs are
    legs = (legs.IN,)  # hops that it can be

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
    legs = legs.EVERY

    def __init__(self, binary, more, name="sallyport"):
        self.binary = pathlib.Path(binary).resolve()
        self.more = more
        self.name = name

    @staticmethod
    def route_flags(hop):
        """The flags by which the route of the load is there, and for whom."""
        if not hop.legs.backend_tls:
            return ["--allow-any-verified"]
        rule = {"allow-any-verified": True} if hop.legs.client_tls else {"egress": True}
        rule["backend-tls"] = {"verify": [legs.BACKEND_ID], "sni": legs.BACKEND_NAME}
        policy = hop.folder / "policy.json"
        policy.write_text(json.dumps({"routes": {"bench": rule}}))
        return ["--policy", policy]

    def command(self, hop):
        discovery = hop.folder / "discovery.json"
        targets = [f"127.0.0.{i + 1}:{hop.backend_port}" for i in range(hop.backends)]
        discovery.write_text(json.dumps([{"targets": targets, "labels": {"route": "bench"}}]))
        # One ring carries 20,000 registered descriptors, which 10,000 connections would fill.
        shards = "2" if hop.idle and hop.idle > 9500 else "1"
        listener = (["--listen", f"127.0.0.1:{hop.port}"] if hop.legs.client_tls else
                    ["--egress", f"127.0.0.1:{hop.port}=bench"])
        return [str(self.binary), *listener,
                "--cert", hop.pki.server_chain, "--key", hop.pki.server_key,
                "--ca", hop.pki.root, *self.route_flags(hop), "--discovery", discovery,
                *(["--min-tls", "1.2"] if hop.min_tls == "1.2" else []),
                "--shards", shards, "--admin", f"127.0.0.1:{hop.admin_port}", *self.more]

    def version(self):
        shown = subprocess.run([self.binary, "--version"], capture_output=True, text=True,
                               check=False)
        return shown.stdout.split("\n")[0].removeprefix("sallyport ")


class Haproxy(Peer):
    name = "haproxy"
    packages = ["haproxy"]
    legs = legs.EVERY

    def command(self, hop):
        accepts = connects = ""
        if hop.legs.client_tls:
            accepts = f"ssl crt {hop.pki.server_all} ca-file {hop.pki.root} verify required"
        if hop.legs.backend_tls:
            connects = (f"ssl crt {hop.pki.server_all} ca-file {hop.pki.root} verify required "
                        f"sni str({legs.BACKEND_NAME})")
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
  bind 127.0.0.1:{hop.port} {accepts}
  server backend 127.0.0.1:{hop.backend_port} {connects}
""")
        return ["haproxy", "-db", "-f", config]


class Nginx(Peer):
    name = "nginx"
    packages = ["nginx", "libnginx-mod-stream"]
    files = ["/usr/lib/nginx/modules/ngx_stream_module.so"]
    legs = legs.EVERY
    more = more_to_backend = ""

    def accepts(self, hop):
        return f"""
    ssl_protocols {hop.protocols()};
    ssl_certificate {hop.pki.server_chain};
    ssl_certificate_key {hop.pki.server_key};
    ssl_client_certificate {hop.pki.root};
    ssl_verify_client on;
    ssl_verify_depth 2;
    {self.more}
"""

    def connects(self, hop):
        return f"""
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate {hop.pki.server_chain};
    proxy_ssl_certificate_key {hop.pki.server_key};
    proxy_ssl_trusted_certificate {hop.pki.root};
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_name {legs.BACKEND_NAME};
    proxy_ssl_server_name on;
    {self.more_to_backend}
"""

    def command(self, hop):
        config = hop.folder / "nginx.conf"
        tls = " ssl" if hop.legs.client_tls else ""
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
    listen 127.0.0.1:{hop.port}{tls} backlog=4096;
    proxy_pass 127.0.0.1:{hop.backend_port};
    proxy_timeout 1h;
    {self.accepts(hop) if hop.legs.client_tls else ""}
    {self.connects(hop) if hop.legs.backend_tls else ""}
  }}
}}
""")
        return ["nginx", "-p", hop.folder, "-c", config]


class NginxKtls(Nginx):
    """With OpenSSL's own kernel TLS: of TLS 1.3 it hands over the sending direction."""
    name = "nginx-ktls"
    more = "ssl_conf_command Options KTLS;"
    more_to_backend = "proxy_ssl_conf_command Options KTLS;"


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
    """A service of its has TLS on one leg: for both it is two, one behind the other."""
    name = "stunnel"
    packages = ["stunnel4"]
    legs = legs.EVERY

    def service(self, hop, name, accept, connect, more):
        return f"""
[{name}]
accept = {accept}
connect = {connect}
cert = {hop.pki.server_chain}
key = {hop.pki.server_key}
CAfile = {hop.pki.root}
verifyChain = yes
{more}
"""

    def command(self, hop):
        client, between, backend = (f"127.0.0.1:{port}" for port in
                                    (hop.port, hop.admin_port, hop.backend_port))
        chain = [client, between, backend] if hop.legs.client_tls and hop.legs.backend_tls else \
            [client, backend]
        services = ""
        if hop.legs.client_tls:
            services += self.service(hop, "in", chain[0], chain[1],
                                     f"requireCert = yes\nsslVersionMin = TLSv{hop.min_tls}")
        if hop.legs.backend_tls:
            services += self.service(hop, "out", chain[-2], chain[-1],
                                     f"client = yes\nsslVersionMin = TLSv1.3\n"
                                     f"sni = {legs.BACKEND_NAME}\ncheckHost = {legs.BACKEND_NAME}")
        config = hop.folder / "stunnel.conf"
        config.write_text(f"""
foreground = quiet
debug = err
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
{services}
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
