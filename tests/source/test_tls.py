"""Whom the client trusts: what the system trusts, and what the environment adds to that."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, FixedHeaders, Unreachable, trusted_certificates
from tests.source.loopback import OK, FakeTime, Script, Tape, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Tape]]:
    """A server whose certificate nobody else has signed: its URL, the certificate, what it was asked."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a proxy that looks into what it passes on")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    tape = Tape(Script([OK]))
    with serving(tape, ssl_certfile=public, ssl_keyfile=private) as url:
        yield url, public, tape


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


def test_who_is_not_trusted_gets_nothing(server: tuple[str, Path, Tape]) -> None:
    """Not one request, no second try, and what to do about it."""
    url, _, tape = server
    with pytest.raises(Unreachable) as caught:
        status_of(url)
    told = caught.value.diagnostics[0]
    assert (caught.value.hopeless, tape.requests) == (True, [])
    assert ("its certificate is not trusted" in told.detail, "SSL_CERT_FILE" in told.hint) == (True, True)


def test_whom_the_environment_trusts_is_trusted(
    server: tuple[str, Path, Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names the certificates, as it does for everything that uses the system's."""
    url, certificate, _ = server
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert status_of(url) == 200


def test_the_certificates_are_the_systems() -> None:
    """They are those that Python takes from the system, not a list that comes with a package."""
    ours, systems = trusted_certificates(), ssl.create_default_context()
    assert (ours.verify_mode, ours.check_hostname) == (ssl.CERT_REQUIRED, True)
    paths = ssl.get_default_verify_paths()
    assert ours.get_ca_certs() == systems.get_ca_certs() or not (paths.cafile or paths.capath)
