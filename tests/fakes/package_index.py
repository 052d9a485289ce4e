"""Wheels of one module, and an index on loopback that serves a folder of them."""

import datetime
import hashlib
import ssl
import threading
import zipfile
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_wheel(
    directory: Path,
    version: str = "1.0",
    padding: bytes = b"",
    name: str = "tiny",
    requires: Sequence[str] = (),
) -> Path:
    """Write a wheel of one module, with a record of its files as installers need it.

    Returns:
        the wheel's path.
    """
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    files = {
        f"{name}.py": f"NAME = '{name}'\n".encode(),
        f"{name}_library.so": b"machine code",
        f"{name}_padding.bin": padding,
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,{len(data)}\n" for path, data in files.items())
    directory.mkdir(exist_ok=True)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, data in files.items():
            wheel.writestr(
                zipfile.ZipInfo(file), data
            )  # without the time: equal calls, equal bytes
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), f"{record}{info}/RECORD,,\n")
    return path


def hash_of(wheel: Path) -> str:
    """Return a file's hash, as a lock has it."""
    return f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


class PackageIndex:
    """Serves a folder of wheels over HTTP; as a proxy, it answers for every host over HTTPS.

    So it can be an index whose address is built into an installer.

    Attributes:
        hosts: the hosts that were asked for through the proxy.
        silent: whether such connections are accepted and never answered.
    """

    def __init__(self, wheels: Path, work: Path) -> None:
        self.wheels, self.hosts, self.silent = wheels, set[str](), False
        self.authority = Authority(work)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._ended = threading.Event()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """The index's address, which is the proxy's as well."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for_the_end(self) -> None:
        """Return when the index is closed."""
        self._ended.wait()

    def answer(self, path: str) -> bytes | None:
        """Return a wheel, or a project's page, which is the last word of the path."""
        name = path.rstrip("/").rpartition("/")[2]
        if name.endswith(".whl"):
            return (self.wheels / name.replace("%2B", "+")).read_bytes()
        found = sorted(self.wheels.glob(f"{name.replace('-', '_')}-*.whl"))
        links = "".join(f'<a href="/{each.name}">{each.name}</a>\n' for each in found)
        return links.encode() if found else None


def _handler(index: PackageIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            body = index.answer(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def do_CONNECT(self) -> None:
            host = self.path.partition(":")[0]
            index.hosts.add(host)
            if index.silent:
                index.wait_for_the_end()
                return
            self.send_response(200)
            self.end_headers()
            context = index.authority.context(host)
            self.connection = context.wrap_socket(self.connection, server_side=True)
            self.rfile = self.connection.makefile("rb")
            self.wfile = self.connection.makefile("wb", buffering=0)
            self.close_connection = False

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


class Authority:
    """Signs certificates for any host. `path` is its own, for SSL_CERT_FILE."""

    def __init__(self, work: Path) -> None:
        self._work, self._key = work, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        own = self._sign(self._name, x509.BasicConstraints(ca=True, path_length=None))
        self.path = work / "authority.pem"
        self.path.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """Return what speaks TLS as this host."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        signed = self._sign(name, x509.SubjectAlternativeName([x509.DNSName(host)]))
        path = self._work / f"{host}.pem"
        private = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(self, name: x509.Name, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(extension, critical=True)
            .sign(self._key, hashes.SHA256())
        )
