"""A CA made by openssl(1) whose certificates and CRLs have the dates that are asked for."""
import datetime
import pathlib
import subprocess

SETTINGS = """
[ca]
default_ca = this
[this]
database = {folder}/index.txt
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


def _time(from_now):
    """In openssl's words: so many days from now."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=from_now)
    return moment.strftime("%y%m%d%H%M%SZ")


class DatedAuthority:
    def __init__(self, folder):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir()
        self.file, self._key = self._folder / "authority.pem", self._folder / "authority.key"
        self._settings = self._folder / "openssl.cnf"
        self._settings.write_text(SETTINGS.format(folder=self._folder))
        (self._folder / "index.txt").touch()
        (self._folder / "serial").write_text("01\n")
        self._openssl("req", "-x509", "-days", "10", "-subj", "/CN=authority", *self._new_key(self._key),
                      "-out", self.file)

    def issue(self, name, alternative_names, begins=-1, ends=10):
        """(certificate, key): files, new ones at each call; dates in days from now."""
        certificate, key, request = (self._folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        self._openssl("req", "-subj", f"/CN={name}", *self._new_key(key), "-out", request,
                      "-addext", f"subjectAltName={alternative_names}")
        self._ca("-batch", "-notext", "-in", request, "-out", certificate,
                 "-startdate", _time(begins), "-enddate", _time(ends))
        return certificate, key

    def crl(self, name, begins=-1, ends=10):
        """A CRL without entries: a file, which is replaced as a whole."""
        file, fresh = self._folder / f"{name}.crl", self._folder / f"{name}.crl.new"
        self._ca("-gencrl", "-out", fresh, "-crl_lastupdate", _time(begins),
                 "-crl_nextupdate", _time(ends))
        fresh.rename(file)
        return file

    def _ca(self, *arguments):
        self._openssl("ca", "-config", self._settings, "-keyfile", self._key, "-cert", self.file,
                      *arguments)

    @staticmethod
    def _new_key(file):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file]

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
