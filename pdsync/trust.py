"""Whose certificates are trusted: the system's, or those that the environment names in their stead."""

from __future__ import annotations

import os
import re
import ssl
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.errors import UsageError, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Where OpenSSL looks for certificates; here they count on every system."""

HINT = "if it is a proxy of yours that answers, set SSL_CERT_FILE to its CA certificate (a PEM file)"
"""What to do about a certificate that is not trusted."""

_HINTS: Mapping[int, str] = MappingProxyType(
    {
        9: "check the clock of this machine",
        10: "check the clock of this machine; if it is right, whoever runs the host has to renew its certificate",
        **dict.fromkeys((62, 64), "check the host in the URL: its certificate is for another one"),
    }
)
"""The same by OpenSSL's number of what is wrong (X509_STORE_CTX_get_error): not yet, no longer, host, IP address."""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_READ_BY_PYTHON = sys.platform not in {"darwin", "win32"}
"""Whether Python's own OpenSSL reads the system's certificates from where the system keeps them."""


def trusted_certificates() -> ssl.SSLContext:
    """A context for clients.  Raises `UsageError` when the environment names certificates that are not there."""
    file, folder = (os.environ.get(name) or None for name in VARIABLES)
    if file or folder:
        return _named(file, folder)
    if _READ_BY_PYTHON:
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        if context.get_ca_certs() or paths.cafile or paths.capath:
            return context  # just what truststore would use, but read once instead of for every connection
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _named(file: str | None, folder: str | None) -> ssl.SSLContext:
    absent = [name for name, path in zip(VARIABLES, (file, folder), strict=True) if path and not Path(path).exists()]
    try:
        if absent:
            raise FileNotFoundError
        return ssl.create_default_context(cafile=file, capath=folder)
    except OSError as problem:  # an SSLError is one, too
        what = "they are not there" if absent else f"they cannot be read: {problem.strerror or 'no certificates'}"
        names = absent or [name for name, path in zip(VARIABLES, (file, folder), strict=True) if path]
        raise UsageError(
            error(
                "PD306",
                "the certificates to trust cannot be used",
                detail=f"{' and '.join(names)}: {what}",
                hint="name a file of certificates in PEM form, or a folder of them with hashed names (openssl rehash)",
            )
        ) from None


def named_certificates(environment: Mapping[str, str]) -> str:
    """The certificates that the environment names, as PEM, for who looks for them elsewhere; empty when it names none.

    Of a folder they are those of the files whose names are hashes, as OpenSSL has it.
    """
    file, folder = (environment.get(name) for name in VARIABLES)
    paths = [Path(file)] if file else []
    paths += [path for path in sorted(Path(folder).iterdir()) if _HASHED.fullmatch(path.name)] if folder else []
    return "\n".join(dict.fromkeys(path.read_text(encoding="utf-8", errors="replace") for path in paths))


def is_untrusted(problem: BaseException) -> bool:
    """Whether the other side's certificate was refused, at the bottom of it."""
    return _refusal(problem) is not None


def what_to_do(problem: BaseException) -> str:
    """About a certificate that was refused; empty when none was."""
    refusal = _refusal(problem)
    return "" if refusal is None else _HINTS.get(refusal.verify_code, HINT)


def why_untrusted(problem: BaseException) -> str:
    """In words, why the other side's certificate was refused; empty when it was not."""
    refusal = _refusal(problem)
    return "" if refusal is None else f"its certificate is not trusted ({refusal.verify_message or 'no reason given'})"


def _refusal(problem: BaseException) -> ssl.SSLCertVerificationError | None:
    return next((link for link in links(problem) if isinstance(link, ssl.SSLCertVerificationError)), None)


def links(problem: BaseException) -> Iterator[BaseException]:
    """An exception and what is behind it; of several that were tried at once, all."""
    if isinstance(problem, BaseExceptionGroup):
        for each in problem.exceptions:
            yield from links(each)
    yield problem
    if behind := problem.__cause__ or problem.__context__:
        yield from links(behind)
