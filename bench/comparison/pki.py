"""A throwaway PKI: one root, an intermediate and a leaf each for server, client and backend, ECDSA
P-256. The server's is a client's as well, towards backends."""
import dataclasses
import pathlib
import subprocess

INTERMEDIATE = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n"
LEAF = ("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage={eku}\nsubjectAltName=URI:spiffe://bench.example/{name},"
        "DNS:{name}.bench.example\n")


@dataclasses.dataclass
class Pki:
    root: pathlib.Path
    server_chain: pathlib.Path
    server_key: pathlib.Path
    server_all: pathlib.Path  # chain and key in one file
    client_chain: pathlib.Path
    client_key: pathlib.Path
    backend_chain: pathlib.Path
    backend_key: pathlib.Path


def openssl(*arguments, stdin=None):
    subprocess.run(["openssl", *map(str, arguments)], check=True, input=stdin, text=True,
                   capture_output=True)


def key(path):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    path.chmod(0o600)
    return path


def issue(folder, name, issuer, extensions):
    """Key and certificate of `name`, signed by `issuer`."""
    request = folder / f"{name}.csr"
    (folder / f"{name}.ext").write_text(extensions)
    openssl("req", "-new", "-key", key(folder / f"{name}.key"), "-subj", f"/CN={name}",
            "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", folder / f"{issuer}.pem",
            "-CAkey", folder / f"{issuer}.key", "-CAcreateserial", "-days", "30",
            "-extfile", folder / f"{name}.ext", "-out", folder / f"{name}.pem")
    return (folder / f"{name}.pem").read_text()


def make(work):
    folder = work / "pki"
    folder.mkdir(exist_ok=True)
    openssl("req", "-x509", "-new", "-key", key(folder / "root.key"), "-subj", "/CN=bench root",
            "-days", "30", "-out", folder / "root.pem")
    for name, eku in (("server", "serverAuth,clientAuth"), ("client", "clientAuth"),
                      ("backend", "serverAuth")):
        intermediate = issue(folder, f"{name}-ca", "root", INTERMEDIATE)
        leaf = issue(folder, name, f"{name}-ca", LEAF.format(name=name, eku=eku))
        (folder / f"{name}-chain.pem").write_text(leaf + intermediate)
    everything = folder / "server-all.pem"
    everything.write_text((folder / "server.key").read_text() +
                          (folder / "server-chain.pem").read_text())
    everything.chmod(0o600)
    return Pki(folder / "root.pem", folder / "server-chain.pem", folder / "server.key", everything,
               folder / "client-chain.pem", folder / "client.key",
               folder / "backend-chain.pem", folder / "backend.key")
