"""The sandbox as a server: real requests on loopback, the log, faults, control routes, start and stop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pdsync.sandbox.http import Fault, Faults, RequestLog, rate_limited
from pdsync.sandbox.port import PortStore
from pdsync.sandbox.server import ListenError, Sandbox, serve_forever
from pdsync.sandbox.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    """The running sandbox with an empty log and no faults."""
    running.faults.clear()
    running.log.clear()
    return running


@pytest.fixture
def port(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """A client of its Port that has a token, and a blueprint `service` without entities."""
    with httpx.Client(base_url=sandbox.port_url) as client:
        env = sandbox.env()
        credentials = {"clientId": env["PORT_CLIENT_ID"], "clientSecret": env["PORT_CLIENT_SECRET"]}
        token = client.post("/v1/auth/access_token", json=credentials).json()["accessToken"]
        client.headers["Authorization"] = f"Bearer {token}"
        if sandbox.store.blueprint("service") is None:
            schema = {"properties": {"n": {"type": "number"}}}
            sandbox.store.create_blueprint({"identifier": "service", "title": "S", "schema": schema})
        for identifier in sandbox.store.entities("service"):
            sandbox.store.delete_entity("service", identifier)
        sandbox.log.clear()
        yield client


def create(port: httpx.Client, identifier: str = "e") -> httpx.Response:
    return port.post("/v1/blueprints/service/entities", params={"upsert": "false"}, json={"identifier": identifier})


def ask_pagerduty(sandbox: Sandbox, path: str) -> httpx.Response:
    env = sandbox.env()
    headers = {
        "Authorization": f"Token token={env['PAGERDUTY_TOKEN']}",
        "Accept": "application/vnd.pagerduty+json;version=2",
    }
    return httpx.get(env["PAGERDUTY_API_URL"] + path, headers=headers)


# --- serving ---


def test_both_apis_answer_under_the_environment_s_addresses(sandbox: Sandbox) -> None:
    env = sandbox.env()
    services = ask_pagerduty(sandbox, "/services").json()["services"]
    assert {service["id"] for service in services} <= set(sandbox.world.services)
    assert httpx.get(env["PORT_BASE_URL"] + "/v1/blueprints").status_code == 401
    assert sorted(env) == [
        "PAGERDUTY_API_URL",
        "PAGERDUTY_TOKEN",
        "PORT_BASE_URL",
        "PORT_CLIENT_ID",
        "PORT_CLIENT_SECRET",
    ]


def test_an_entity_written_over_http_is_in_the_store_and_one_in_the_store_is_read_over_http(
    sandbox: Sandbox, port: httpx.Client
) -> None:
    assert create(port, "a/b").status_code == 201
    assert list(sandbox.store.entities("service")) == ["a/b"]
    sandbox.store.put_entity("service", {"identifier": "a/b", "properties": {"n": 1}})
    read = port.get("/v1/blueprints/service/entities/a%2Fb").json()["entity"]
    assert (read["identifier"], read["properties"]) == ("a/b", {"n": 1})


def test_a_body_over_1_mib_is_refused_and_the_connection_lives_on(port: httpx.Client) -> None:
    big = {"identifier": "e", "title": "x" * 1024 * 1024}
    answer = port.post("/v1/blueprints/service/entities", params={"upsert": "true"}, json=big)
    assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large")
    assert create(port).status_code == 201


def test_several_run_at_once_and_know_nothing_of_each_other() -> None:
    with Sandbox(World(seed=1, services=3)) as one, Sandbox(World(seed=2, services=5)) as other:
        summaries = [httpx.get(sandbox.control_url).json() for sandbox in (one, other)]
    assert [summary["world"]["services"] for summary in summaries] == [3, 5]


def test_a_given_port_is_used_and_free_again_after_the_end(running: Sandbox) -> None:
    with Sandbox() as first:
        taken = int(first.port_url.rpartition(":")[2])
        with pytest.raises(ListenError, match="ddress already in use"):
            Sandbox(port_port=taken).__enter__()
        assert httpx.get(first.port_url).status_code == 404
    with Sandbox(port_port=taken) as second:
        assert second.port_url == f"http://127.0.0.1:{taken}"
        assert httpx.get(second.port_url).status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{taken}")


def test_a_sandbox_can_be_started_again_and_keeps_what_it_held(running: Sandbox) -> None:
    store = PortStore()
    sandbox = Sandbox(port_store=store)
    for _ in range(2):
        with sandbox:
            assert httpx.get(sandbox.port_url).status_code == 404
    assert sandbox.store is store
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.env()


def test_no_thread_is_left_behind(running: Sandbox) -> None:
    before = set(threading.enumerate())
    with Sandbox():
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before


def test_its_limits_are_its_own() -> None:
    with Sandbox(port_limit=1, pagerduty_limit=1) as sandbox:
        pagerduty = [ask_pagerduty(sandbox, "/users").status_code for _ in range(2)]
        port = [httpx.get(sandbox.port_url + "/v1/blueprints").status_code for _ in range(2)]
    assert pagerduty == [200, 429]
    assert port == [401, 429]


def test_the_world_changes_on_the_thread_that_serves_it_or_before_there_is_one() -> None:
    sandbox = Sandbox(World(services=2))
    service = next(iter(sandbox.world.services))
    sandbox.mutate({"action": "rename_service", "id": service, "name": "Before"})
    with sandbox:
        done = sandbox.mutate({"action": "rename_service", "id": service, "name": "While"})
        with pytest.raises(ValueError, match="unknown action"):
            sandbox.mutate({"action": "nothing"})
    assert (done["before"], done["after"]) == ("Before", "While")


# --- the log ---


def test_the_log_has_every_request_with_its_raw_path_and_status(sandbox: Sandbox, port: httpx.Client) -> None:
    create(port, "a/b")
    port.get("/v1/blueprints/service/entities/a%2Fb", params={"include": "title"})
    port.get("/v1/nothing")
    shown = [(request.api, request.method, request.path, request.query, request.status) for request in sandbox.log]
    assert shown == [
        ("port", "POST", "/v1/blueprints/service/entities", "upsert=false", 201),
        ("port", "GET", "/v1/blueprints/service/entities/a%2Fb", "include=title", 200),
        ("port", "GET", "/v1/nothing", "", 404),
    ]


def test_searches_are_reads_and_everything_else_that_is_no_get_is_a_write(sandbox: Sandbox, port: httpx.Client) -> None:
    port.post("/v1/auth/access_token", json={})
    port.post("/v1/blueprints/service/entities/search", json={})
    port.post("/v1/entities/search", json={"combinator": "and", "rules": []})
    port.post("/v1/entities/aggregate", json={})
    port.get("/v1/blueprints")
    assert sandbox.log.port_writes() == []
    create(port)
    port.post("/v1/blueprints/service/entities/bulk", json={"entities": []})
    port.delete("/v1/blueprints/service/entities/e")
    port.patch("/v1/blueprints/service", json={})
    written = [
        (request.method, request.path.removeprefix("/v1/blueprints/service")) for request in sandbox.log.port_writes()
    ]
    assert written == [("POST", "/entities"), ("POST", "/entities/bulk"), ("DELETE", "/entities/e"), ("PATCH", "")]


def test_the_log_can_be_asked_for_one_api_and_emptied(sandbox: Sandbox) -> None:
    httpx.get(sandbox.port_url + "/v1/users")
    httpx.get(sandbox.pagerduty_url + "/users")
    assert [request.path for request in sandbox.log.all("pagerduty")] == ["/users"]
    assert len(sandbox.log) == 2
    sandbox.log.clear()
    assert list(sandbox.log) == []


# --- faults ---


def test_an_answer_before_the_effect_stores_nothing_and_one_after_it_does(sandbox: Sandbox, port: httpx.Client) -> None:
    sandbox.faults.add(Fault("answer", status=503, body={"x": 1}, headers={"X-Why": "test"}))
    sandbox.faults.add(Fault("answer", when="after", status=502))
    first = create(port)
    assert (first.status_code, first.json(), first.headers["x-why"]) == (503, {"x": 1}, "test")
    assert sandbox.store.entities("service") == {}
    assert create(port).status_code == 502
    assert list(sandbox.store.entities("service")) == ["e"]
    assert create(port).status_code == 409


@pytest.mark.parametrize(("when", "stored"), [("before", []), ("after", ["e"])])
def test_a_dropped_connection_tells_nothing_about_the_effect(
    sandbox: Sandbox, port: httpx.Client, when: Any, stored: list[str]
) -> None:
    sandbox.faults.add(Fault("drop", when=when, method="POST", path="/entities"))
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        create(port)
    assert list(sandbox.store.entities("service")) == stored
    assert [request.status for request in sandbox.log] == [0]
    assert port.get("/v1/blueprints").status_code == 200


def test_truncated_json_is_well_framed_but_no_json(sandbox: Sandbox, port: httpx.Client) -> None:
    sandbox.faults.add(Fault("truncate"))
    answer = create(port)
    assert answer.status_code == 201
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()
    assert list(sandbox.store.entities("service")) == ["e"]


def test_a_cut_answer_ends_in_the_middle(sandbox: Sandbox, port: httpx.Client) -> None:
    sandbox.faults.add(Fault("cut"))
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without"):
        create(port)
    assert list(sandbox.store.entities("service")) == ["e"]
    assert create(port).status_code == 409


def test_a_delayed_answer_is_the_answer(sandbox: Sandbox, port: httpx.Client) -> None:
    sandbox.faults.add(Fault("delay", seconds=0.01), Fault("delay", when="after", seconds=0.01))
    assert [create(port).status_code, create(port).status_code] == [201, 409]


def test_a_client_that_gives_up_on_a_delay_may_find_the_work_done(sandbox: Sandbox, port: httpx.Client) -> None:
    struck = threading.Event()
    sandbox.faults.struck = lambda _: struck.set()
    sandbox.faults.add(Fault("delay", when="after", seconds=3600))
    with pytest.raises(httpx.ReadTimeout):
        port.post("/v1/blueprints/service/entities", json={"identifier": "late"}, timeout=httpx.Timeout(60, read=0.2))
    struck.wait()
    assert list(sandbox.store.entities("service")) == ["late"]


@pytest.mark.parametrize(("when", "made"), [("before", False), ("after", True)])
def test_who_listens_is_told_when_a_fault_strikes(sandbox: Sandbox, port: httpx.Client, when: Any, made: bool) -> None:
    """At the very moment: with the effect or without it, and before the client has an answer."""
    held: list[bool] = []
    sandbox.faults.struck = lambda _: held.append("e" in sandbox.store.entities("service"))
    sandbox.faults.add(Fault("answer", when=when, path="/entities$"))
    create(port)
    sandbox.faults.struck = lambda _: None
    assert held == [made]


def test_port_comes_back_to_a_checkpoint_of_its_own_or_of_another_store() -> None:
    """Entities, blueprints, audit log; what is made afterwards comes after all that is there, in lists too."""
    first, second = PortStore(), PortStore()
    first.create_blueprint({"identifier": "service", "title": "S", "schema": {"properties": {}}})
    for name in "ba":
        first.put_entity("service", {"identifier": name})
    kept = first.checkpoint()
    held, events = first.snapshot(), first.events()
    first.delete_entity("service", "a")
    first.create_blueprint({"identifier": "other", "title": "O", "schema": {"properties": {}}})
    for store in (first, second):
        store.restore(kept)
        assert (store.snapshot(), store.events()) == (held, events)
        store.put_entity("service", {"identifier": "c"})
        assert [entity.identifier for entity in store.page("service", None, 9, None)[0]] == ["b", "a", "c"]


def test_a_rate_limit_says_how_long_to_wait(sandbox: Sandbox, port: httpx.Client) -> None:
    sandbox.faults.add(rate_limited(3, api="port", path="/blueprints$"))
    refused = port.get("/v1/blueprints")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert port.get("/v1/blueprints").status_code == 200


def test_a_fault_strikes_the_requests_it_names_after_those_it_skips_as_often_as_it_says() -> None:
    faults = Faults()
    fault = Fault("drop", api="port", method="post", path="^/v1/a", skip=1, count=2)
    faults.add(fault)
    others = [("pagerduty", "POST", "/v1/a"), ("port", "GET", "/v1/a"), ("port", "POST", "/v1/b")]
    assert [faults.take(*other) for other in others] == [None, None, None]
    assert [faults.take("port", "POST", "/v1/a/x") for _ in range(5)] == [None, fault, fault, None, None]


def test_the_first_fault_that_fits_strikes_and_one_without_a_count_never_ends() -> None:
    faults = Faults()
    once, always = Fault("drop"), Fault("cut", count=None)
    faults.add(once, always)
    assert [faults.take("port", "GET", "/") for _ in range(4)] == [once, always, always, always]
    assert faults.all() == [once, always]
    faults.clear()
    assert faults.take("port", "GET", "/") is None


def test_a_path_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="no regular expression"):
        Faults().add(Fault("drop", path="("))


def test_the_log_takes_requests_from_several_threads(sandbox: Sandbox) -> None:
    def ask() -> None:
        with httpx.Client(base_url=sandbox.port_url) as client:
            for _ in range(10):
                client.get("/v1/nothing")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [request.status for request in sandbox.log] == [404] * 40
    assert isinstance(sandbox.log, RequestLog)


# --- control routes ---


@pytest.fixture
def control(sandbox: Sandbox, port: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.control_url) as client:
        yield client


def test_the_summary_tells_addresses_sizes_and_counts(sandbox: Sandbox, control: httpx.Client) -> None:
    httpx.get(sandbox.port_url)
    summary = control.get("").json()
    assert (summary["port_url"], summary["pagerduty_url"]) == (sandbox.port_url, sandbox.pagerduty_url)
    assert summary["world"] == sandbox.world.summary()
    assert summary["port"]["entities"]["service"] == 0
    assert (summary["requests"], summary["faults"]) == (1, 0)


def test_the_world_is_changed_by_commands(sandbox: Sandbox, control: httpx.Client) -> None:
    service = next(iter(sandbox.world.services))
    answer = control.post("/world", json={"action": "rename_service", "id": service, "name": "Renamed"})
    assert answer.json()["after"] == "Renamed"
    assert sandbox.world.services[service].name == "Renamed"
    refused = control.post("/world", json={"action": "nothing"})
    assert (refused.status_code, "unknown action" in refused.json()["error"]) == (422, True)


def test_port_is_edited_by_commands(sandbox: Sandbox, control: httpx.Client) -> None:
    put = {"op": "put_entity", "blueprint": "service", "entity": {"identifier": "e", "properties": {"n": 1}}}
    assert control.post("/port", json=put).json()["updatedBy"] == "admin@sandbox.example"
    assert sandbox.store.entities("service")["e"]["properties"] == {"n": 1}
    delete = {"op": "delete_entity", "blueprint": "service", "identifier": "e"}
    assert control.post("/port", json=delete).status_code == 200
    assert sandbox.store.entities("service") == {}
    assert control.post("/port", json=delete).status_code == 404
    wrong = [{}, [], {"op": "drop_all"}, {"op": "put_entity", "blueprint": "service"}]
    assert [control.post("/port", json=command).status_code for command in wrong] == [422] * 4


def test_faults_and_requests_can_be_set_read_and_emptied(sandbox: Sandbox, control: httpx.Client) -> None:
    fault = {"effect": "answer", "api": "port", "status": 418, "count": 1}
    assert control.post("/faults", json=fault).status_code == 200
    assert [(one["effect"], one["status"]) for one in control.get("/faults").json()] == [("answer", 418)]
    assert httpx.get(sandbox.port_url).status_code == 418
    assert [(one["path"], one["status"]) for one in control.get("/requests").json()] == [("/", 418)]
    assert (control.delete("/faults").status_code, control.delete("/requests").status_code) == (200, 200)
    assert (control.get("/faults").json(), control.get("/requests").json()) == ([], [])


@pytest.mark.parametrize(
    "fault", [{}, {"effect": "explode"}, {"effect": "drop", "path": "("}, {"effect": "drop", "count": "1"}]
)
def test_a_fault_that_is_none_is_422(control: httpx.Client, fault: Any) -> None:
    assert control.post("/faults", json=fault).status_code == 422
    assert control.get("/faults").json() == []


def test_control_requests_are_not_logged_and_faults_do_not_touch_them(sandbox: Sandbox, control: httpx.Client) -> None:
    sandbox.faults.add(Fault("answer", status=500, count=None))
    assert control.get("").status_code == 200
    assert control.get("/nothing").status_code == 404
    assert list(sandbox.log) == []


# --- serving until a signal ---


def test_serve_forever_ends_when_told(running: Sandbox) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def ready(sandbox: Sandbox) -> None:
        seen.append(httpx.get(sandbox.port_url).status_code)
        stop.set()

    before = signal.getsignal(signal.SIGTERM)
    serve_forever(Sandbox(), ready, stop)
    assert seen == [404]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    program = (
        "from pdsync.sandbox.server import Sandbox, serve_forever\n"
        "serve_forever(Sandbox(), lambda sandbox: print(sandbox.port_url, flush=True))\n"
        "print('ended')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(url).status_code == 404
        process.send_signal(number)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "ended\n", "")
