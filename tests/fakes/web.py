"""Stand-ins for the web: a server on loopback, a resolver, and a function that connects."""

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import certifi
import pytest

from higgs_worker.errors import UnusableReference
from higgs_worker.voices.download import download

SOUND = b"RIFF" + bytes(range(256)) * 40
PUBLIC = "93.184.215.14"
Answer = Callable[[str], Iterable[bytes]]


def write_one_authority(directory: Path) -> Path:
    """Write a file of certificates with one in it, for `SSL_CERT_FILE`.

    Each client loads that file, and with all authorities it takes longer than most tests.
    """
    path = directory / "one.pem"
    end = "-----END CERTIFICATE-----\n"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return path


def write_certificate(directory: Path, host: str) -> Path:
    """Write the key and certificate of a host, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Server:
    """Answers every connection on loopback with the bytes that `answer` yields for the path."""

    def __init__(self, answer: Answer, certificate: Path | None = None) -> None:
        self.answer, self.tls = answer, None
        if certificate:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(certificate)
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def url(self, path: str = "/voice.wav") -> str:
        """Return the address of a path on this server."""
        return f"http://{self.host}{path}"

    def _accept(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock = self.tls.wrap_socket(sock, server_side=True) if self.tls else sock
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                received = sock.recv(65536)
                if not received:  # the client is gone
                    return
                request += received
            self.requests.append(request.decode("ascii"))
            for piece in self.answer(request.split()[1].decode("ascii")):
                sock.sendall(piece)
        except ConnectionRefusedError:  # the answer asks for a reset
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        finally:
            sock.close()


def ok(body: bytes, *headers: str) -> list[bytes]:
    """Return a plain answer."""
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers, "", ""]
    return ["\r\n".join(head).encode(), body]


def redirect(location: str, status: int = 302) -> list[bytes]:
    """Return a redirect."""
    return [f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\n\r\n".encode()]


def get(server: Server, path: str = "/voice.wav", **options: Any) -> bytes:
    """Fetch from a server that the operator allows."""
    defaults = {"max_bytes": 100_000, "timeout_s": 5.0, "allowed_hosts": frozenset({server.host})}
    return download(server.url(path), **(defaults | options))


def refusal(source: str, **options: Any) -> str:
    """Return the sentence with which a source is refused."""
    defaults = {"max_bytes": 100_000, "timeout_s": 5.0}
    with pytest.raises(UnusableReference) as caught:
        download(source, **(defaults | options))
    return caught.value.message


def refused_by(answer: Answer, **options: Any) -> str:
    """Return the sentence for a server with this answer."""
    with Server(answer) as server:
        allowed = {"allowed_hosts": frozenset({server.host})}
        return refusal(server.url(), **(allowed | options))


def unreached(*args: Any, **_: Any) -> Any:
    """Fail: the network must not be used."""
    raise AssertionError(f"{args} must not be reached")


class Names:
    """A resolver that returns its answers in turn, then repeats the last."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        """Return the next answer, as `socket.getaddrinfo` does."""
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]


class Route:
    """Carries connections for public addresses to one server on loopback, and remembers them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.targets: list[tuple[str, int]] = []

    def __call__(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        """Connect to the server, as `socket.create_connection` does."""
        self.targets.append(address)
        return socket.create_connection(("127.0.0.1", self.server.port), timeout_s)
