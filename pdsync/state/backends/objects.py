"""State in an object store: Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage.

    s3://BUCKET/PREFIX?region=eu-west-1&endpoint=https://minio.example.com
    gs://BUCKET/PREFIX
    az://ACCOUNT/CONTAINER/PREFIX

obstore does the talking and finds the credentials where each cloud keeps them: in the process's environment
(`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_...`), a federated token, or the machine's role.

Conditions: If-None-Match and If-Match with the ETag (Amazon S3 user guide, Conditional requests; Azure Blob Storage
REST API, Conditional headers), the object's generation (Cloud Storage, Request preconditions).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from pdsync.errors import StateError, UsageError, error
from pdsync.state.backends import Stored
from pdsync.state.backends.patience import NoAnswer
from pdsync.state.backends.remote import Conflict, Seen
from pdsync.trust import HINT, VARIABLES, named_certificates, trusted_certificates

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
PREFIX = re.compile(r"(?!/|.*//)(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._=/-]*")
CLIENT = {"connect_timeout": "5s", "timeout": "120s", "http1_only": True}
CONFLICTS = (exceptions.AlreadyExistsError, exceptions.PreconditionError)
"""Beside a condition that does not hold also what an answer of 409 is taken for."""

ONCE = {"max_retries": 0, "retry_timeout": timedelta(seconds=20)}
"""obstore is not to send again by itself: only who counts the tries knows which write may have been done."""


@dataclass(frozen=True, slots=True)
class Location:
    """What an object URL names; `account` is Azure's, `options` are the URL's own."""

    scheme: str
    bucket: str
    prefix: str
    account: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The URL again, to be shown."""
        parts = [part for part in (self.account, self.bucket, self.prefix) if part]
        return f"{self.scheme}://{'/'.join(parts)}"


@dataclass(frozen=True, slots=True)
class _Provider:
    """What differs between the clouds.

    `endpoint` is obstore's word for another endpoint than the cloud's own, `endpoints` the environment's; `version`
    says which of obstore's two versions conditions are made of, `stale` is one that no object ever has.
    """

    name: str
    store: Callable[..., ObjectStore]
    endpoint: str
    options: frozenset[str]
    endpoints: tuple[str, ...]
    version: str
    stale: str
    example: str
    credentials: str
    tells_versioning: bool = False


PROVIDERS = {
    "s3": _Provider(
        name="Amazon S3",
        store=S3Store,
        endpoint="endpoint",
        options=frozenset({"region", "endpoint"}),
        endpoints=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        version="e_tag",
        stale='"00000000000000000000000000000000"',
        example="s3://acme-pdsync/production?region=eu-west-1",
        credentials="AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or a role; "
        "it needs s3:GetObject and s3:PutObject on the prefix and s3:ListBucket on the bucket",
        tells_versioning=True,
    ),
    "gs": _Provider(
        name="Google Cloud Storage",
        store=GCSStore,
        endpoint="base_url",
        options=frozenset(),
        endpoints=("GOOGLE_BASE_URL",),
        version="version",
        stale="1",
        example="gs://acme-pdsync/production",
        credentials="GOOGLE_APPLICATION_CREDENTIALS, or a service account of the machine; "
        "it needs the role Storage Object User on the bucket",
    ),
    "az": _Provider(
        name="Azure Blob Storage",
        store=AzureStore,
        endpoint="endpoint",
        options=frozenset(),
        endpoints=("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        version="e_tag",
        stale='"0x8D0000000000000"',
        example="az://acmestate/pdsync/production",
        credentials="AZURE_STORAGE_CLIENT_ID, AZURE_STORAGE_CLIENT_SECRET and AZURE_STORAGE_TENANT_ID, or a managed "
        "identity; it needs the role Storage Blob Data Contributor on the container",
    ),
}


def parse_object_url(url: str) -> Location:
    """The place that a state URL names.  Raises `UsageError` for one that names none."""
    parts = urlsplit(url)
    provider = PROVIDERS[parts.scheme]
    path = parts.path.removeprefix("/").removesuffix("/")
    account, bucket = "", parts.netloc
    if parts.scheme == "az":
        account = parts.netloc
        bucket, _, path = path.partition("/")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = options.keys() <= provider.options and all(options.values()) and not parts.fragment
    names = BUCKET.fullmatch(bucket) and (BUCKET.fullmatch(account) or parts.scheme != "az")
    if not known or not names or not PREFIX.fullmatch(path):
        given = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        hint = f"Write {provider.example}; credentials stand in the environment, never in the URL."
        raise UsageError(error("PD552", f"this is no URL of {provider.name}", detail=given, hint=hint))
    return Location(parts.scheme, bucket, path, account, tuple(sorted(options.items())))


class ObjectBucket:
    """A `pdsync.state.backends.remote.Bucket` on an obstore store."""

    def __init__(self, store: ObjectStore, scheme: str, url: str) -> None:
        self._store = store
        self._provider = PROVIDERS[scheme]
        self._url = url
        self.stale_version = self._provider.stale

    def get(self, name: str) -> Stored | None:
        """See `Bucket.get`."""
        try:
            answer = self._ask(name, lambda: obstore.get(self._store, name))
            data = self._ask(name, lambda: bytes(answer.bytes()))
        except FileNotFoundError as missing:
            self._check_container(missing)
            return None
        return Stored(data, self._version(answer.meta))

    def look(self, name: str) -> Seen | None:
        """See `Bucket.look`."""
        try:
            meta = self._ask(name, lambda: obstore.head(self._store, name))
        except FileNotFoundError as missing:
            self._check_container(missing)
            return None
        return Seen(self._version(meta), meta["size"])

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """See `Bucket.put`."""
        mode: Any = "create" if expected is None else {self._provider.version: expected}
        try:
            written = self._ask(
                name, lambda: obstore.put(self._store, name, data, mode=mode, use_multipart=False), CONFLICTS
            )
        except CONFLICTS:
            raise Conflict from None
        except FileNotFoundError as missing:  # S3 answers 404, not 412, when the expected object is gone
            self._check_container(missing)
            raise Conflict from None
        return self._version(written)

    def keeps_older(self, name: str) -> bool | None:
        """See `Bucket.keeps_older`: S3 names the version of an object in a bucket with versioning.

        Amazon S3 API reference, HeadObject: `x-amz-version-id`.  The other clouds tell of the bucket alone.
        """
        if not self._provider.tells_versioning:
            return None
        return self._ask(name, lambda: obstore.head(self._store, name)).get("version") is not None

    def remove(self, name: str, expected: str) -> None:
        """See `Bucket.remove`: the object is emptied, which needs no permission beyond that to write."""
        self.put(name, b"", expected)

    def _version(self, of: Mapping[str, Any]) -> str:
        version = of[self._provider.version]
        if not version:
            hint = "Keep the state in a store that gives every object an ETag or generation."
            raise StateError(error("PD551", "this store gives no versions", detail=self._url, hint=hint))
        return str(version)

    def _ask(self, name: str, call: Callable[[], T], answers: tuple[type[Exception], ...] = ()) -> T:
        """One request, its failures told apart: those that answer something, those of the moment, those for good."""
        passed: tuple[type[Exception], ...] = (FileNotFoundError, *answers)
        try:
            return call()
        except passed:
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as refused:
            raise self._failed(name, refused, f"Check {self._provider.credentials}.") from None
        except (exceptions.BaseError, OSError, ValueError) as problem:
            if _UNTRUSTED.search(str(problem)):
                raise self._failed(name, problem, f"{HINT[0].upper()}{HINT[1:]}.") from None
            if _is_final(problem):
                raise self._failed(name, problem, f"Check the URL and {self._provider.credentials}.") from None
            raise NoAnswer(_in_words(problem)) from None

    def _check_container(self, missing: FileNotFoundError) -> None:
        """A bucket that does not exist is no empty state."""
        if _code(str(missing)) in {"NoSuchBucket", "ContainerNotFound", "AccountNotFound"}:
            raise StateError(
                error(
                    "PD555",
                    "the bucket for the state does not exist",
                    detail=f"{self._url}: {_in_words(missing)}",
                    hint="Make it (pdsync makes no buckets), or correct the URL.",
                )
            ) from None

    def _failed(self, name: str, problem: Exception, hint: str) -> StateError:
        detail = f"{name} at {self._url}: {_in_words(problem)}"
        return StateError(error("PD554", f"{self._provider.name} refused", detail=detail, hint=hint))


def open_bucket(location: Location, environment: Mapping[str, str]) -> ObjectBucket:
    """The bucket of a URL.  Raises `UsageError` for an endpoint that is not encrypted and elsewhere, `StateError`."""
    provider = PROVIDERS[location.scheme]
    options = dict(location.options)
    given = (environment[name] for name in provider.endpoints if environment.get(name))
    endpoint = options.pop("endpoint", "") or next(given, "")
    _check_endpoint(endpoint)
    config = {**options, provider.endpoint: endpoint, "account_name": location.account}
    try:
        store = provider.store(
            location.bucket,
            prefix=location.prefix or None,
            config={name: value for name, value in config.items() if value},
            client_options={**CLIENT, "allow_http": endpoint.startswith("http://"), **_trusted(environment)},
            retry_config=ONCE,
        )
        return ObjectBucket(store, location.scheme, location.url)
    except (exceptions.BaseError, OSError, ValueError) as problem:
        detail = f"{location.url}: {_in_words(problem)}"
        hint = f"Check {provider.credentials}."
        raise StateError(error("PD554", f"{provider.name} cannot be opened", detail=detail, hint=hint)) from None


def _trusted(environment: Mapping[str, str]) -> dict[str, str]:
    """What the environment names, which obstore knows on some systems only; what the system trusts it does."""
    if not any(environment.get(name) for name in VARIABLES):
        return {}
    trusted_certificates()  # says what is wrong with them
    named = named_certificates(environment)
    return {"root_certificate": named} if named else {}


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme != "http":
        return
    from pdsync.transport import is_loopback

    if not is_loopback(parts.hostname or ""):
        detail = f"plain http to {parts.hostname}"
        raise UsageError(error("PD552", "the state's endpoint is not encrypted", detail=detail, hint="use https://"))


# --- what obstore says -----------------------------------------------------------------------------------------

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]{1,80})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_REQUEST = re.compile(r"^Generic \S+ error: Error performing [A-Z]+ \S+ in \S+ - ")
_QUERY = re.compile(r"\?[^\s\"')]*")
_UNTRUSTED = re.compile(r"InvalidCertificate\(\s*(\w+)")
_PASSING = frozenset({"408", "409", "425", "429"})
_LONGEST = 300


def _is_final(problem: Exception) -> bool:
    """Whether sending it again is in vain: the server has refused it, or it never left because it cannot be built."""
    text = str(problem)
    status = _STATUS.search(text)
    if status:
        return status[1][0] != "5" and status[1] not in _PASSING
    return "builder error" in text or not isinstance(problem, exceptions.GenericError | exceptions.AlreadyExistsError)


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""


def _in_words(problem: Exception) -> str:
    """What went wrong, without what follows a `?` (it may be a signature) and without obstore's inner structure."""
    if untrusted := _UNTRUSTED.search(str(problem)):
        return f"its certificate is not trusted ({untrusted[1]})"
    text = str(problem).partition("\n\nDebug source")[0]
    status, code, message = _STATUS.search(text), _code(text), _MESSAGE.search(text)
    if code:
        parts = [f"HTTP {status[1]}" if status else "", code, message[1].strip() if message else ""]
        return ", ".join(part for part in parts if part)
    told = _REQUEST.sub("", " ".join(text.split())).replace("HTTP error: error sending request", "no connection")
    return _QUERY.sub("?...", told)[:_LONGEST]
