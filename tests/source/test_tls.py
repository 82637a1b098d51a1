"""Whom the client trusts: what the system trusts, or what the environment names in its stead."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import truststore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pdsync import trust
from pdsync.errors import StateError, UsageError
from pdsync.github.api import GitHub, GitHubError
from pdsync.state.backends.objects import open_bucket, parse_object_url
from pdsync.state.backends.patience import NoAnswer
from pdsync.targets.port.auth import PortAuth
from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, FixedHeaders, Unreachable
from tests.source.loopback import OK, FakeTime, Script, Tape, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server(NamedTuple):
    """A server whose certificate a CA has signed that nobody knows."""

    url: str
    authority: Path
    tape: Tape


def _usage(*, authority: bool) -> x509.KeyUsage:
    """What the key is for: Python 3.13 and newer want an authority to say that it signs certificates."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _signed(
    subject: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder(_name("ca of a proxy"), _name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .sign(by, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    above, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority, public, private = (folder / name for name in ("ca.pem", "certificate.pem", "key.pem"))
    pem = serialization.Encoding.PEM
    authority.write_bytes(_signed("ca of a proxy", above, above, authority=True).public_bytes(pem))
    public.write_bytes(_signed("127.0.0.1", own, above, authority=False).public_bytes(pem))
    plain = serialization.NoEncryption()
    private.write_bytes(own.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
    tape = Tape(Script([OK]))
    with serving(tape, ssl_certfile=public, ssl_keyfile=private) as url:
        yield Server(url, authority, tape)


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in trust.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def status_of(url: str) -> int:
    """The status of a request."""

    async def main() -> int:
        auth = FixedHeaders("authorization", "Token token=x")
        timing = FakeTime().timing()
        async with ApiClient(
            url, name="PagerDuty", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS, timing=timing
        ) as client:
            return (await client.send("GET", "/things")).status

    return asyncio.run(main())


@pytest.mark.parametrize("by_python", [True, False])
def test_who_is_not_trusted_gets_nothing(server: Server, monkeypatch: pytest.MonkeyPatch, *, by_python: bool) -> None:
    """Not one request, no second try, why, and what to do about it; where Python cannot ask the system, too."""
    monkeypatch.setattr(trust, "_READ_BY_PYTHON", by_python)
    server.tape.requests.clear()
    with pytest.raises(Unreachable) as caught:
        status_of(server.url)
    told = caught.value.diagnostics[0]
    assert (caught.value.hopeless, server.tape.requests) == (True, [])
    assert "its certificate is not trusted (" in told.detail
    assert "SSL_CERT_FILE" in told.hint


def test_a_certificate_of_another_host_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its authority is trusted: there is nothing to set, but something to look at."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    with pytest.raises(Unreachable) as caught:
        status_of(server.url.replace("127.0.0.1", "localhost"))
    told = caught.value.diagnostics[0]
    assert "mismatch" in told.detail
    assert told.hint == "check the host in the URL: its certificate is for another one"


@contextmanager
def tunnel(server: Server) -> Iterator[str]:
    """A proxy that leads to this server, wherever one wants to go."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def lead(inner: socket.socket) -> None:
        with inner, socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0)) as outer:
            inner.recv(65536)
            inner.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pass_on, args=(outer, inner))
            back.start()
            pass_on(inner, outer)
            back.join(10)

    def serve() -> None:
        with suppress(OSError):
            while True:
                led.append(threading.Thread(target=lead, args=(listener.accept()[0],), daemon=True))
                led[-1].start()

    led: list[threading.Thread] = []
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in (thread, *led):
            each.join(10)


@pytest.mark.parametrize("port", [False, True])
def test_a_proxy_that_is_not_trusted_is_said_to_every_request(
    server: Server, monkeypatch: pytest.MonkeyPatch, *, port: bool
) -> None:
    """As one that looks into what is encrypted: no request waits for a connection on which another one failed."""
    base_url = "https://api.example:443"
    auth = PortAuth(base_url, "id", "secret") if port else FixedHeaders("authorization", "Token token=x")

    async def main() -> list[Any]:
        async with ApiClient(base_url, name="it", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS) as client:
            asking = [asyncio.wait_for(client.send("GET", "/things"), 20) for _ in range(2)]
            return [*await asyncio.gather(*asking, return_exceptions=True), await later(client)]

    async def later(client: ApiClient) -> BaseException:
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(client.send("GET", "/things"), 20)
        return caught.value

    with tunnel(server) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        failures = asyncio.run(main())
    for failure in failures:
        assert isinstance(failure, Unreachable)
        told = failure.diagnostics[0]
        assert (failure.hopeless, "not trusted" in told.detail, urlsplit(proxy).netloc in told.detail) == (
            True,
            True,
            True,
        )
        assert "SSL_CERT_FILE" in told.hint


def test_who_is_named_in_a_file_is_trusted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names the certificates."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    assert status_of(server.url) == 200


def hashed(server: Server, folder: Path) -> Path:
    """A folder as OpenSSL has it.

    Its digest is of the name in lower case without its outermost frame, the first four bytes reversed.
    """
    inner = _name("ca of a proxy").public_bytes()[2:]
    digest = hashlib.sha1(inner, usedforsecurity=False).digest()[:4][::-1].hex()
    (folder / f"{digest}.0").write_bytes(server.authority.read_bytes())
    (folder / "README").write_text("certificates of ours\n", encoding="utf-8")
    return folder


def test_who_is_in_a_folder_is_trusted(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSL_CERT_DIR is a folder as OpenSSL has it: files are found by a digest of the name that they certify."""
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed(server, tmp_path)))
    assert status_of(server.url) == 200


@pytest.mark.parametrize("name", trust.VARIABLES)
def test_certificates_that_are_not_there_are_said(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server
) -> None:
    """Not that PagerDuty is not trusted: what is wrong is the variable."""
    monkeypatch.setenv(name, str(tmp_path / "absent"))
    with pytest.raises(UsageError) as caught:
        status_of(server.url)
    assert caught.value.diagnostics[0].detail == f"{name}: they are not there"


def test_a_file_without_certificates_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: Server) -> None:
    """A key, say, or a certificate in another form."""
    (tmp_path / "empty.pem").write_text("nothing\n", encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(UsageError) as caught:
        status_of(server.url)
    assert "SSL_CERT_FILE: they cannot be read" in caught.value.diagnostics[0].detail


def test_github_is_asked_in_the_same_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrusted it is not asked again and again; named in the environment it is trusted."""
    waits: list[float] = []

    def ask() -> object:
        with GitHub(server.url, "a/b", "t", sleep=waits.append, now=lambda: 0.0, jitter=lambda: 0.0) as client:
            return client.get("/x")

    with pytest.raises(GitHubError) as caught:
        ask()
    told = caught.value.diagnostics[0]
    assert ("not trusted" in told.detail, "SSL_CERT_FILE" in told.hint, waits) == (True, True, [])
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    assert ask() is not None


@pytest.mark.parametrize("named", trust.VARIABLES)
def test_a_bucket_is_told_what_the_environment_names(
    named: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where its library does not look itself, as on a Mac: here, by not having it in this process's environment."""
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    location = parse_object_url(f"s3://acme-bucket/x?region=eu-west-1&endpoint={server.url}")
    where = server.authority if named == "SSL_CERT_FILE" else hashed(server, tmp_path)
    with pytest.raises(NoAnswer):  # what this server says is no object
        open_bucket(location, {**keys, named: str(where)}).get("ledger.jsonl")
    with pytest.raises(StateError):
        open_bucket(location, keys).get("ledger.jsonl")


def test_a_bucket_is_asked_in_the_same_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrusted it is asked once, and why is said; named in the environment it is trusted."""
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    location = parse_object_url(f"s3://acme-bucket/x?region=eu-west-1&endpoint={server.url}")
    with pytest.raises(StateError) as caught:
        open_bucket(location, os.environ).get("ledger.jsonl")
    told = caught.value.diagnostics[0]
    assert ("not trusted (UnknownIssuer)" in told.detail, "SSL_CERT_FILE" in told.hint) == (True, True)
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    server.tape.requests.clear()
    with pytest.raises(NoAnswer):  # what this server says is no object
        open_bucket(location, os.environ).get("ledger.jsonl")
    assert len(server.tape.requests) == 1
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority) + " absent")
    with pytest.raises(UsageError):
        open_bucket(location, os.environ)


def test_the_certificates_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those that Python takes from the system, not a list that comes with a package; or the system is asked."""
    ours, systems = trust.trusted_certificates(), ssl.create_default_context()
    assert (ours.verify_mode, ours.check_hostname) == (ssl.CERT_REQUIRED, True)
    paths = ssl.get_default_verify_paths()
    assert ours.get_ca_certs() == systems.get_ca_certs() or not (paths.cafile or paths.capath)
    monkeypatch.setattr(trust, "_READ_BY_PYTHON", False)
    assert isinstance(trust.trusted_certificates(), truststore.SSLContext)
