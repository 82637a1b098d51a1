"""Small object servers on loopback, each as strict as the service whose protocol it speaks.

They know single objects only: GET and PUT with conditions (and DELETE on the plain web server).  Check and write are one
step under a lock.  Statuses, codes and headers are those of the services' references: Amazon S3 (PutObject, Conditional
requests), Cloud Storage (XML API, x-goog-if-generation-match), Azure Blob Storage (Put Blob, Conditional headers), and
RFC 9110, 13.1 for the plain one.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class Answer(NamedTuple):
    """What a request is answered with."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Kept(NamedTuple):
    """One object: its bytes and the number of the write that made it."""

    data: bytes
    number: int


@dataclass
class Shelf:
    """What a server keeps, what it was asked, and how it is to misbehave.

    `faults` are taken one by one by the requests for objects: a status to answer with instead of doing anything,
    `lost` to do it and break the connection off, `broken` to break it off before.  `etags` may be weak or none,
    `silent_writes` leaves them out of answers to writes; with `versioning`, S3 names the version of an object.  What is read is of
    `content_type`; with `login`, a page is all that comes of a write.
    """

    containers: set[str] = field(default_factory=set)
    objects: dict[str, Kept] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    faults: list[int | str] = field(default_factory=list)
    honours_none_match: bool = True
    honours_match: bool = True
    etags: str = "strong"
    silent_writes: bool = False
    versioning: bool = False
    retry_after: str = ""
    content_type: str = ""
    login: bool = False
    token: str = ""
    writes: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, path: str, data: bytes) -> Kept:
        self.writes += 1
        self.objects[path] = Kept(data, self.writes)
        return self.objects[path]

    def unconditional(self) -> list[str]:
        """The paths of writes that came without a condition."""
        return [
            path for method, path, headers in self.requests if method in ("PUT", "DELETE") and not condition(headers)
        ]


def condition(headers: Mapping[str, str]) -> str:
    """What the version must be: a version, `none`, or nothing when the request says nothing."""
    if headers.get("if-none-match") == "*" or headers.get("x-goog-if-generation-match") == "0":
        return "none"
    return headers.get("if-match") or headers.get("x-goog-if-generation-match") or ""


class Dialect:
    """How one service says it."""

    missing = "NoSuchKey"
    no_container = "NoSuchBucket"
    exists = (412, "PreconditionFailed")
    moved = (412, "PreconditionFailed")
    gone = (412, "PreconditionFailed")

    def allowed(self, shelf: Shelf, headers: Mapping[str, str]) -> bool:
        return True

    def versions(self, shelf: Shelf, kept: Kept) -> dict[str, str]:
        raise NotImplementedError

    def version(self, shelf: Shelf, kept: Kept) -> str:
        return self.versions(shelf, kept).get("etag", "")

    def error(self, status: int, code: str) -> Answer:
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>It is so.</Message></Error>'
        return Answer(status, {"content-type": "application/xml"}, body.encode())


class S3(Dialect):
    """An expected object that is gone is a 404 (PutObject: If-Match on a key that does not exist)."""

    gone = (404, "NoSuchKey")

    def allowed(self, shelf: Shelf, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 ")

    def versions(self, shelf: Shelf, kept: Kept) -> dict[str, str]:
        told = {"x-amz-version-id": f"v{kept.number}"} if shelf.versioning else {}
        return {"etag": f'"{hashlib.md5(kept.data).hexdigest()}"', **told}


class Gcs(Dialect):
    def allowed(self, shelf: Shelf, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == f"Bearer {shelf.token}"

    def versions(self, shelf: Shelf, kept: Kept) -> dict[str, str]:
        generation = str(1_700_000_000_000_000 + kept.number)
        return {"etag": f'"{hashlib.md5(kept.data).hexdigest()}"', "x-goog-generation": generation}

    def version(self, shelf: Shelf, kept: Kept) -> str:
        return self.versions(shelf, kept)["x-goog-generation"]


class Azure(Dialect):
    missing = "BlobNotFound"
    no_container = "ContainerNotFound"
    exists = (409, "BlobAlreadyExists")
    moved = gone = (412, "ConditionNotMet")

    def allowed(self, shelf: Shelf, headers: Mapping[str, str]) -> bool:
        return headers.get("authorization", "").startswith("SharedKey ")

    def versions(self, shelf: Shelf, kept: Kept) -> dict[str, str]:
        return {"etag": f'"0x8DC{kept.number:012X}"'}


class Web(Dialect):
    def allowed(self, shelf: Shelf, headers: Mapping[str, str]) -> bool:
        return not shelf.token or headers.get("authorization") == shelf.token

    def versions(self, shelf: Shelf, kept: Kept) -> dict[str, str]:
        etag = {"strong": f'"{kept.number}"', "weak": f'W/"{kept.number}"'}.get(shelf.etags)
        return {"etag": etag} if etag else {}

    def version(self, shelf: Shelf, kept: Kept) -> str:
        return f'"{kept.number}"'


class Handler(BaseHTTPRequestHandler):
    """One connection; subclassed for each server with its shelf and dialect."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    shelf: ClassVar[Shelf]
    dialect: ClassVar[Dialect]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._do(self._get)

    def do_HEAD(self) -> None:
        self._do(self._get)

    def do_PUT(self) -> None:
        self._do(self._put)

    def do_DELETE(self) -> None:
        self._do(self._delete)

    def _do(self, work: Callable[[str, Mapping[str, str], bytes], Answer]) -> None:
        content = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = unquote(urlsplit(self.path).path)
        with self.shelf.lock:
            self.shelf.requests.append((self.command, path, headers))
            fault = self.shelf.faults.pop(0) if self.shelf.faults else None
            if fault == "broken":
                answer = None
            elif isinstance(fault, int):
                answer = self.dialect.error(fault, "NotNow")
                later = {"retry-after": self.shelf.retry_after} if self.shelf.retry_after else {}
                answer = answer._replace(headers={**answer.headers, **later})
            else:
                answer = self._checked(work, path, headers, content)
                answer = None if fault == "lost" else answer
        self._answer(answer)

    def _answer(self, answer: Answer | None) -> None:
        self.close_connection = answer is None
        if answer is None:
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _checked(
        self,
        work: Callable[[str, Mapping[str, str], bytes], Answer],
        path: str,
        headers: Mapping[str, str],
        content: bytes,
    ) -> Answer:
        if not self.dialect.allowed(self.shelf, headers):
            return self.dialect.error(403, "AccessDenied")
        if path.split("/")[1] not in self.shelf.containers:
            return self.dialect.error(404, self.dialect.no_container)
        return work(path, headers, content)

    def _get(self, path: str, headers: Mapping[str, str], _: bytes) -> Answer:
        kept = self.shelf.objects.get(path)
        if kept is None:
            return self.dialect.error(404, self.dialect.missing)
        kind = self.shelf.content_type or "application/octet-stream"
        dated = {"last-modified": "Mon, 01 Jun 2026 12:00:00 GMT", "content-type": kind}
        return Answer(200, {**dated, **self.dialect.versions(self.shelf, kept)}, kept.data)

    def _put(self, path: str, headers: Mapping[str, str], content: bytes) -> Answer:
        refused = self._refused(path, headers)
        if refused is not None:
            return refused
        if self.shelf.login:
            return Answer(200, {"etag": '"login"', "content-type": "text/html"}, b"<html>Sign in</html>")
        new = path not in self.shelf.objects
        kept = self.shelf.write(path, content)
        versions = {} if self.shelf.silent_writes else self.dialect.versions(self.shelf, kept)
        return Answer(201 if new else 200, versions)

    def _delete(self, path: str, headers: Mapping[str, str], _: bytes) -> Answer:
        refused = self._refused(path, headers)
        if refused is not None:
            return refused
        del self.shelf.objects[path]
        return Answer(204)

    def _refused(self, path: str, headers: Mapping[str, str]) -> Answer | None:
        kept, wanted = self.shelf.objects.get(path), condition(headers)
        if wanted == "none":
            return self.dialect.error(*self.dialect.exists) if kept and self.shelf.honours_none_match else None
        if not wanted or not self.shelf.honours_match:
            return None
        if kept is None:
            return self.dialect.error(*self.dialect.gone)
        return None if wanted == self.dialect.version(self.shelf, kept) else self.dialect.error(*self.dialect.moved)


@contextmanager
def serving(dialect: Dialect, *containers: str) -> Iterator[tuple[str, Shelf]]:
    """A server inside the block: its address, and what it keeps."""
    shelf = Shelf(set(containers))
    handler = type("OneHandler", (Handler,), {"shelf": shelf, "dialect": dialect})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", shelf
        finally:
            server.shutdown()
            thread.join()
