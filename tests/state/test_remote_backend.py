"""Shared stores when things go wrong: what is tried again, what counts, what is refused, and that nothing secret is said."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pdsync.catalog.project import STATE_SCHEMES
from pdsync.errors import PdsyncError, StalePlan, StateError, UsageError
from pdsync.state.backends.https import HttpBucket
from pdsync.state.backends.patience import NoAnswer
from pdsync.state.backends.remote import PROBE, RemoteBackend
from pdsync.state.open import _OPENERS, Surroundings, open_backend
from tests.state.places import ENVIRONMENT, SECRET, SERVED, Clock, Place
from tests.state.servers import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=SERVED)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with SERVED[request.param](tmp_path) as place:
        yield place


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Place]:
    with SERVED["https"](tmp_path) as place:
        yield place


def opened(place: Place, **parts: object) -> RemoteBackend:
    backend = place.open()
    assert isinstance(backend, RemoteBackend)
    for name, value in parts.items():
        setattr(backend, f"_{name}", value)
    return backend


def ready(place: Place) -> RemoteBackend:
    """A backend that has put its store to the test already, so that the next request is the one asked for."""
    backend = opened(place)
    backend._prove()
    return backend


def paths(place: Place) -> list[str]:
    return sorted(path.rpartition("/")[2] for path in place.shelf.objects)


@pytest.mark.parametrize("fault", [500, 503, 429, "broken", "lost"])
def test_what_fails_for_the_moment_is_tried_again(place: Place, fault: int | str) -> None:
    """Twice in a row, for reading and for writing; the write is there once."""
    backend = ready(place)
    place.shelf.faults = [fault, fault]
    version = backend.store("ledger.jsonl", b"one", None)
    place.shelf.faults = [fault, fault]
    held = backend.load("ledger.jsonl")
    assert held is not None
    assert (held.data, held.version) == (b"one", version)


def test_a_write_whose_answer_was_lost_counts(place: Place) -> None:
    """Also over an older version; the version that is returned is the one that is kept."""
    backend = ready(place)
    place.shelf.faults = ["lost"]
    first = backend.store("ledger.jsonl", b"one", None)
    place.shelf.faults = ["lost", 503]
    second = backend.store("ledger.jsonl", b"two", first)
    held = place.open().load("ledger.jsonl")
    assert held is not None
    assert (held.data, held.version) == (b"two", second)


def test_a_lost_answer_does_not_make_somebody_elses_write_ours(place: Place) -> None:
    """What is kept is compared: another run's bytes are a stale plan."""
    ours, theirs = ready(place), ready(place)
    version = ours.store("ledger.jsonl", b"base", None)
    theirs.store("ledger.jsonl", b"theirs", version)
    place.shelf.faults = ["broken"]
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"ours", version)
    held = ours.load("ledger.jsonl")
    assert held is not None
    assert held.data == b"theirs"


def test_equal_bytes_of_somebody_else_are_not_ours(place: Place) -> None:
    """Without a lost answer a conflict is a conflict, whatever is kept."""
    ours, theirs = ready(place), ready(place)
    version = ours.store("ledger.jsonl", b"base", None)
    theirs.store("ledger.jsonl", b"same", version)
    with pytest.raises(StalePlan):
        ours.store("ledger.jsonl", b"same", version)


@pytest.mark.parametrize("call", ["load", "store", "delete"])
def test_patience_ends(place: Place, call: str) -> None:
    """A store that never answers is an error of the state (exit code 1, no stale plan), within bounds."""
    clock, backend = Clock(), ready(place)
    backend._patience = clock.patience(total=30.0)
    place.shelf.faults = [503] * 100
    calls: dict[str, Callable[[], object]] = {
        "load": lambda: backend.load("ledger.jsonl"),
        "store": lambda: backend.store("ledger.jsonl", b"one", None),
        "delete": lambda: backend.delete("ledger.jsonl"),
    }
    with pytest.raises(StateError) as caught:
        calls[call]()
    assert (caught.value.exit_code, caught.value.diagnostics[0].code) == (1, "PD550")
    assert clock.now == pytest.approx(30.0)
    assert "503" in str(caught.value)


def failing() -> None:
    raise NoAnswer("not now")


@pytest.mark.parametrize(("chance", "first"), [(0.0, [0.25, 0.5, 1.0, 2.0, 4.0, 5.0]), (0.5, [0.375, 0.75, 1.5])])
def test_pauses_grow_and_differ(chance: float, first: list[float]) -> None:
    """Each is between half of and its whole bound, which doubles up to the longest; then the time is over."""
    clock = Clock()
    with pytest.raises(NoAnswer):
        clock.patience(chance=lambda: chance).insist(failing)
    assert clock.slept[: len(first)] == first
    assert clock.now == pytest.approx(60.0)


def test_tries_that_take_long_use_up_the_time_too() -> None:
    """No try begins later than that."""
    clock, begun = Clock(), []

    def slow() -> None:
        begun.append(clock.now)
        clock.now += 50.0
        raise NoAnswer("timed out")

    with pytest.raises(NoAnswer):
        clock.patience().insist(slow)
    assert begun == [0.0, pytest.approx(50.0, abs=1.0)]


def test_who_never_answered_gets_less_time(place: Place) -> None:
    """Most likely the name is wrong."""
    clock = Clock()
    backend = opened(place, patience=clock.patience())
    place.shelf.faults = [503] * 100
    with pytest.raises(StateError, match="tried for 20 s"):
        backend.load("ledger.jsonl")
    assert clock.now == pytest.approx(20.0)


def test_a_server_that_asks_for_time_gets_it(web: Place) -> None:
    """Retry-After in seconds is waited for, and said; a wait beyond all patience is cut."""
    clock = Clock()
    said: list[str] = []
    backend = opened(web, patience=clock.patience(), notify=said.append, answered=True)
    web.shelf.retry_after = "7"
    web.shelf.faults = [429]
    backend.load("ledger.jsonl")
    web.shelf.retry_after = "86400"
    web.shelf.faults = [503]
    backend.load("ledger.jsonl")
    assert clock.slept == [7.0, 60.0]
    web.shelf.faults = [503, 503]
    with pytest.raises(StateError, match="HTTP 503, it asks to wait 86400 s"):
        backend.load("ledger.jsonl")
    said = said[:2]
    assert said == [f"{web.url}: HTTP 429; trying again in 7 s", f"{web.url}: HTTP 503; trying again in 60 s"]


def test_a_passing_conflict_is_tried_again(place: Place) -> None:
    """Amazon S3 answers 409 while another write is under way, of which nothing may come."""
    if place.url.startswith("http"):
        pytest.skip("there 409 says that the folder is missing")
    backend = ready(place)
    place.shelf.faults = [409]
    version = backend.store("ledger.jsonl", b"one", None)
    place.shelf.faults = [409, 409, 409]
    backend.store("ledger.jsonl", b"two", version)
    place.shelf.faults = [409]
    held = backend.load("ledger.jsonl")
    assert held is not None
    assert held.data == b"two"


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_a_store_that_ignores_conditions_is_refused_by_name(place: Place, header: str) -> None:
    """Before anything of ours is written there: a careless store loses updates unnoticed."""
    place.shelf.honours_none_match = header != "If-None-Match"
    place.shelf.honours_match = header != "If-Match"
    with pytest.raises(StateError) as caught:
        place.open().store("ledger.jsonl", b"one", None)
    diagnostic = caught.value.diagnostics[0]
    assert (diagnostic.code, header in diagnostic.detail, diagnostic.detail.startswith(place.open().url)) == (
        "PD551",
        True,
        True,
    )
    assert paths(place) == [PROBE]


def test_a_store_is_tested_once_in_a_process(place: Place) -> None:
    """And costs two requests when it was tested before."""
    ready(place)
    place.shelf.requests.clear()
    backend = opened(place)
    version = backend.store("ledger.jsonl", b"one", None)
    backend.store("ledger.jsonl", b"two", version)
    assert [method for method, _, _ in place.shelf.requests] == ["PUT"] * 4


def test_reading_alone_needs_no_write(place: Place) -> None:
    """A plan with credentials that can only read is possible."""
    place.open().load("ledger.jsonl")
    assert [method for method, _, _ in place.shelf.requests] == ["GET"]


@pytest.mark.parametrize("call", ["load", "store"])
def test_a_bucket_that_does_not_exist_is_not_an_empty_state(place: Place, call: str) -> None:
    """A mistyped URL never means that nothing is owned."""
    if place.url.startswith("http"):
        pytest.skip("a web server knows no buckets: 404 is all that it can say")
    place.shelf.containers.clear()
    backend = opened(place)
    with pytest.raises(StateError, match="does not exist") as caught:
        backend.load("ledger.jsonl") if call == "load" else backend.store("ledger.jsonl", b"one", None)
    assert caught.value.diagnostics[0].code == "PD555"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_is_final_and_says_what_is_needed(place: Place, status: int) -> None:
    """Not tried again; the hint names the credentials, and neither they nor signatures are shown."""
    backend = ready(place)
    place.shelf.requests.clear()
    place.shelf.faults = [status]
    with pytest.raises(StateError) as caught:
        backend.load("ledger.jsonl")
    diagnostic = caught.value.diagnostics[0]
    assert (len(place.shelf.requests), diagnostic.code, str(status) in diagnostic.detail) == (1, "PD554", True)
    assert diagnostic.hint
    assert (SECRET in str(diagnostic), "Signature" in str(diagnostic)) == (False, False)


def test_damage_is_said(place: Place) -> None:
    """An object that is no gzip is named; it is not taken for an empty one."""
    backend = ready(place)
    backend.store("ledger.jsonl", b"one" * 99, None)
    path = next(path for path in place.shelf.objects if path.endswith("ledger.jsonl.gz"))
    for damaged in (b"not gzip", place.shelf.objects[path].data[:-3]):
        place.shelf.objects[path] = Kept(damaged, 9)
        with pytest.raises(StateError, match=r"ledger\.jsonl\.gz") as caught:
            backend.load("ledger.jsonl")
        assert caught.value.diagnostics[0].code == "PD501"


def test_a_login_page_is_no_damage(place: Place) -> None:
    """Whichever store it stands before: what came is said, on a web server with its type, and what to do."""
    backend = ready(place)
    backend.store("ledger.jsonl", b"one", None)
    path = next(path for path in place.shelf.objects if path.endswith("ledger.jsonl.gz"))
    place.shelf.objects[path] = Kept(b"\n<!DOCTYPE html><title>Sign in</title>", 9)
    place.shelf.etags = "none"
    place.shelf.content_type = "text/html; charset=utf-8"
    for look in (backend.load, backend.version) if place.url.startswith("http") else (backend.load,):
        with pytest.raises(StateError, match=r"ledger\.jsonl\.gz") as caught:
            look("ledger.jsonl")
        (problem,) = caught.value.diagnostics
        assert (problem.code, "login page" in problem.hint, "Sign in" in str(problem)) == ("PD556", True, False)
        assert ("(text/html; charset=utf-8)" in problem.detail) == place.url.startswith("http")


def test_a_login_page_does_not_make_a_write_count(web: Place) -> None:
    """A session that ended answers a write with success, and nothing is written."""
    backend = ready(web)
    version = backend.store("ledger.jsonl", b"one", None)
    web.shelf.login = True
    with pytest.raises(StateError, match="a page came in place of the state: PUT"):
        backend.store("ledger.jsonl", b"two", version)


@pytest.mark.parametrize("etags", ["weak", "none"])
def test_a_server_without_strong_etags_is_refused(web: Place, etags: str) -> None:
    """There is nothing that a condition could be made of."""
    backend = ready(web)
    backend.store("ledger.jsonl", b"one", None)
    web.shelf.etags = etags
    with pytest.raises(StateError, match="no usable ETags"):
        backend.load("ledger.jsonl")


def test_basic_credentials_are_sent(web: Place, tmp_path: Path) -> None:
    """User and password as RFC 7617 has them."""
    web.shelf.token = "Basic YWRhOmxvdmVsYWNl"
    with pytest.raises(StateError, match="403"):
        web.open().load("ledger.jsonl")
    given = {"PDSYNC_STATE_HTTP_USER": "ada", "PDSYNC_STATE_HTTP_PASSWORD": "lovelace"}
    assert open_backend(web.url, Surroundings(tmp_path, given)).load("ledger.jsonl") is None


@pytest.mark.parametrize("token", ["tök", "a\nb"])
def test_what_no_header_can_hold_is_no_token(tmp_path: Path, token: str) -> None:
    """Said at once, and not shown; the end of a line behind one is left out."""
    with pytest.raises(UsageError, match="this is no token: PDSYNC_STATE_HTTP_TOKEN") as caught:
        HttpBucket("http://127.0.0.1:1/x", {"PDSYNC_STATE_HTTP_TOKEN": token})
    assert token not in str(caught.value.diagnostics)
    HttpBucket("http://127.0.0.1:1/x", {"PDSYNC_STATE_HTTP_TOKEN": " fine\n"})


def test_an_etag_that_the_answer_to_a_write_lacks_is_asked_for(web: Place) -> None:
    """Some servers give an ETag to readers only."""
    web.shelf.silent_writes = True
    backend = ready(web)
    version = backend.store("ledger.jsonl", b"one", None)
    assert backend.store("ledger.jsonl", b"two", version)


UNUSABLE = [
    "s3://",
    "s3://bucket/../up",
    "s3://bucket//twice",
    "s3://bucket?profile=x",
    "s3://bucket?region=",
    "s3://AKIA:s3cr3t@bucket/x",
    "gs://bucket?region=eu",
    "gs://bucket#x",
    "az://account",
    "az://account/",
    "https://ada:s3cr3t@state.example.com/x",
    "https://state.example.com/x?sig=s3cr3t",
    "http://state.example.com/x",
    "s3://bucket?endpoint=http://minio.example.com",
    "ftp://example.com/x",
    "s3:/bucket/x",
    "https:state.example.com/x",
    "https://[::1/x",
    "https://state.example.com:70000/x",
    "S3://bucket/x",
]


@pytest.mark.parametrize("url", UNUSABLE)
def test_urls_that_name_nothing_or_too_much_are_refused(tmp_path: Path, url: str) -> None:
    """With an example of how to write it, and without what may be a credential."""
    with pytest.raises(UsageError) as caught:
        open_backend(url, Surroundings(tmp_path))
    assert caught.value.diagnostics[0].hint
    assert "s3cr3t" not in str(caught.value.diagnostics[0])


def test_the_catalog_knows_the_kinds_of_urls() -> None:
    """What `validate` lets pass can be opened, and the other way round."""
    assert {*STATE_SCHEMES, "git"} == set(_OPENERS)


def test_an_endpoint_of_the_environment_must_be_encrypted_too(tmp_path: Path) -> None:
    """Plain http is for this very machine."""
    around = Surroundings(tmp_path, {"AWS_ENDPOINT_URL": "http://minio.example.com:9000"})
    with pytest.raises(UsageError, match="not encrypted"):
        open_backend("s3://bucket/x", around)


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The connection that is refused names the URL, after some patience."""
    for url, environment in (
        ("http://127.0.0.1:1/state", {}),
        ("s3://acme/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
    ):
        backend = open_backend(url, Surroundings(tmp_path, environment))
        assert isinstance(backend, RemoteBackend)
        backend._patience = Clock().patience()
        with pytest.raises(PdsyncError, match="does not answer") as caught:
            backend.load("ledger.jsonl")
        assert url in str(caught.value)


IMPORTS = """
import sys
from pathlib import Path
from pdsync.state.open import Surroundings, open_backend
open_backend(sys.argv[1], Surroundings(Path(sys.argv[2])))
print(*sorted({"obstore", "httpx", "git", "cryptography"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("url", "needed"), [("state", ""), ("s3://acme/x", "obstore"), ("https://state.example.com/x", "httpx")]
)
def test_only_what_the_url_asks_for_is_imported(tmp_path: Path, url: str, needed: str) -> None:
    """A state in a folder pays for no cloud."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, url, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == needed
