"""What a hop speaks on its two legs."""
import dataclasses

BACKEND_NAME = "backend.bench.example"  # in the backend's certificate
BACKEND_ID = "spiffe://bench.example/backend"


@dataclasses.dataclass(frozen=True)
class Legs:
    client_tls: bool  # mutual TLS with clients; else they are plaintext
    port: str         # of sallyport-backend, as it calls it

    @property
    def backend_tls(self):
        """Mutual TLS with the backend, with session reuse on; else it is plaintext."""
        return self.port != "port"

    @property
    def resumes(self):
        """Whether the backend lets anybody resume."""
        return self.port in ("tls_port", "tls_nagle_port")


IN = Legs(True, "port")
LEGS = {
    "in": IN,
    "both": Legs(True, "tls_port"),
    "both_full": Legs(True, "tls_full_port"),
    "out": Legs(False, "tls_port"),
    "out_full": Legs(False, "tls_full_port"),
    "out_nagle": Legs(False, "tls_nagle_port"),
}
EVERY = tuple(LEGS.values())
