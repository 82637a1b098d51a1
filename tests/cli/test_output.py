"""What goes where: documents to stdout, the rest to stderr; colour, events, formats, and equal bytes for equal inputs."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import orjson
import pytest
from jsonschema import Draft202012Validator

from pdsync.cli import _print_all_letters
from pdsync.cli.trouble import report
from pdsync.plan.document import plan_schema
from tests.cli.workspace import MAPPING
from tests.render.html import seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.workspace import Workspace

PLACE = "catalog/mappings/pagerduty.yaml"
ESCAPE = "\x1b["


def test_a_json_plan_is_all_of_stdout(here: Workspace) -> None:
    """Stdout is one document that its schema takes; progress and notes are on stderr."""
    ran = here.ok("plan", "--format", "json", "--out", "saved.pdplan")
    assert list(Draft202012Validator(plan_schema()).iter_errors(ran.json)) == []
    assert ran.out.encode() == (here.folder / "saved.pdplan").read_bytes()
    assert "saved.pdplan" in ran.err


def test_the_last_line_of_a_plan_is_its_summary(here: Workspace) -> None:
    """So that a script may read it."""
    assert here.ok("plan").out.splitlines()[-1] == "Plan: 16 to create, 0 to update, 0 to delete."


def test_a_markdown_plan_is_markdown(here: Workspace) -> None:
    """A heading with the project's name, counts, and the changes in code."""
    ran = here.ok("plan", "--format", "markdown")
    html = seen(ran.out)
    assert ran.out.startswith("### tests\n")
    assert ("16 to create" in html.loose, html.stack) == (True, [])


ON_CALL = MAPPING.replace(
    "url: .html_url", "url: .html_url\n            note: '.__oncall_user | map(.user.name) | join(\", \")'"
)


def test_what_could_not_be_read_stands_in_every_form_of_a_plan(here: Workspace) -> None:
    """Which enrichment, of how many records, why, and what it is mapped to; nothing in Port is erased for it."""
    here.write("catalog/mappings/pagerduty.yaml", ON_CALL)
    here.ok("-q", "apply", "--auto-approve")
    here.box.mutate({"action": "plan_missing", "kind": "oncalls"})
    saved = here.ok("plan", "--format", "json", "--out", "saved.pdplan").json
    assert list(Draft202012Validator(plan_schema()).iter_errors(saved)) == []
    (told,) = saved["unavailable"]
    count = len(here.box.world.services)
    assert {**told, "reason": ""} == {
        "kind": "services",
        "enrichment": "__oncall_user",
        "reason": "",
        "records": count,
        "of": count,
        "paths": ["properties.note"],
    }
    assert ("402" in told["reason"], saved["changes"]) == (True, [])
    for command in (("show", "saved.pdplan"), *(("plan", "--format", form) for form in ("text", "markdown", "html"))):
        document = here.ok(*command).out
        assert f"__oncall_user of {count} of {count} services: " in document
        assert "kept as in Port: properties.note" in document


def test_quiet_leaves_only_documents(here: Workspace) -> None:
    """-q: nothing but the document and errors."""
    pasted = {name: f" {value}\n" for name, value in here.env.items()}  # as a secret with a line's end is
    assert here.ok("-q", "plan", "--out", "saved.pdplan", code=0, **pasted).err == ""
    assert here.ok("plan", "-q").err == ""


def test_json_documents_of_every_command_that_has_them(applied: Workspace) -> None:
    """show, drift and state give one JSON document each on stdout."""
    applied.ok("-q", "plan", "--out", "saved.pdplan")
    key = applied.ok("state", "list").out.split()[-1]
    for command in (
        ["show", "saved.pdplan"],
        ["show", "state"],
        ["show", "history"],
        ["show", applied.ok("show", "history", "--format", "json").json[0]["run"]],
        ["show", key],
        ["drift"],
        ["state", "show"],
        ["state", "show", key],
        ["validate"],
    ):
        ran = applied.ok(*command, "--format", "json")
        assert orjson.loads(ran.out) is not None, command


@pytest.mark.parametrize(("named", "expected"), [("", "\u00e9 \u0416".encode()), ("cp1252", b"\xe9 \\u0416")])
def test_every_letter_can_be_printed(named: str, expected: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a file UTF-8, whatever the locale has, as on Windows; who names another encoding gets that, and escapes."""
    into = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(into, encoding="cp1252"))
    monkeypatch.delenv("PYTHONIOENCODING", raising=False)
    if named:
        monkeypatch.setenv("PYTHONIOENCODING", named)
    _print_all_letters()
    click.echo("\u00e9 \u0416", nl=False)
    assert into.getvalue() == expected


# --- colour


def test_colour_is_off_where_nobody_looks(here: Workspace) -> None:
    """Neither a pipe nor a file gets escape sequences."""
    ran = here.spawn("plan")
    assert (ran.code, ESCAPE in ran.out, ESCAPE in ran.err) == (0, False, False)


def test_colour_always_is_always(here: Workspace) -> None:
    """--color always colours a pipe, too, stdout and errors alike, and --color never wins over a terminal."""
    assert ESCAPE in here.spawn("plan", "--color=always", PORT_CLIENT_ID="").err
    assert ESCAPE in here.ok("--color", "always", "plan").out


def test_githubs_log_is_coloured(here: Workspace) -> None:
    """Its log shows colours though it is no terminal, unless NO_COLOR is set."""
    assert ESCAPE in here.ok("plan", GITHUB_ACTIONS="true").out
    assert ESCAPE not in here.ok("plan", GITHUB_ACTIONS="true", NO_COLOR="1").out
    assert ESCAPE in here.spawn("plan", GITHUB_ACTIONS="true", PORT_CLIENT_ID="").err


def on_a_terminal(here: Workspace, *args: str, **env: str) -> str:
    """What a command prints when stdout and stderr are a terminal."""
    ours, its = pty.openpty()
    told: list[bytes] = []
    reading = threading.Thread(target=lambda: told.extend(_printed(ours)))
    reading.start()
    with os.fdopen(its, "w", encoding="utf-8") as terminal:
        here.run_into(terminal, terminal, *args, **{"TERM": "xterm", **env})
    reading.join()
    os.close(ours)
    return b"".join(told).decode()


def _printed(terminal: int) -> Iterator[bytes]:
    """What comes out of a terminal until its other side is closed, which Linux calls an error."""
    with suppress(OSError):
        while part := os.read(terminal, 65536):
            yield part


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_terminal_is_coloured_unless_told_not_to(here: Workspace) -> None:
    """Colour on a terminal; none with NO_COLOR, --color never or a dumb terminal."""
    assert "\x1b[32m+" in on_a_terminal(here, "-q", "plan")
    assert "\x1b[31m" in on_a_terminal(here, "-q", "plan", PORT_CLIENT_ID="")
    assert ESCAPE not in on_a_terminal(here, "-q", "plan", NO_COLOR="1")
    assert ESCAPE not in on_a_terminal(here, "-q", "plan", TERM="dumb", PORT_CLIENT_ID="")
    for when in ("never", "always"):
        assert (ESCAPE in on_a_terminal(here, "-q", "--color", when, "plan", PORT_CLIENT_ID="")) == (when == "always")


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_json_cannot_steer_a_terminal(here: Workspace) -> None:
    """What JSON need not escape is escaped there, and nowhere else: a pipe and a file get the very bytes."""
    steering = "\x9b\x7f\u202e"
    here.write(PLACE, MAPPING.replace("title: .name", f"title: .name + ({[*map(ord, steering)]} | implode)"))
    here.ok("-q", "apply", "--auto-approve")
    for command in (("state", "pull"), ("state", "show", "--format", "json", here.ok("state", "list").out.split()[-1])):
        piped, shown = here.ok(*command).out, on_a_terminal(here, *command).replace("\r\n", "\n")
        assert (steering in piped, set(steering) & set(shown)) == (True, set())
        assert [*map(orjson.loads, shown.splitlines())] if command[1] == "pull" else orjson.loads(shown)


# --- events


def test_json_into_writes_an_event_a_line(here: Workspace) -> None:
    """The plan, every outcome and every diagnostic, each a JSON object with its time; runs are appended."""
    here.write("catalog/mappings/pagerduty.yaml", MAPPING.replace("role: .role", 'role: .role | error("no")'))
    here.ok("--json-into", "events.ndjson", "plan", code=1)
    planned = [orjson.loads(line) for line in (here.folder / "events.ndjson").read_bytes().splitlines()]
    assert {event["type"] for event in planned} == {"plan", "diagnostic"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["at"]) for event in planned)
    here.run("--json-into", "events.ndjson", "apply", "--auto-approve")
    everything = [orjson.loads(line) for line in (here.folder / "events.ndjson").read_bytes().splitlines()]
    outcomes = [event for event in everything[len(planned) :] if event["type"] == "outcome"]
    assert everything[: len(planned)] == planned
    assert [(o["n"], o["status"]) for o in outcomes] == [(n, "done") for n in range(1, 17)]


def test_errors_are_events_too(here: Workspace) -> None:
    """A command that ends in an error says so in the events, with the code."""
    here.ok("--json-into", "events.ndjson", "plan", code=1, PORT_CLIENT_SECRET="wrong")
    events = [orjson.loads(line) for line in (here.folder / "events.ndjson").read_bytes().splitlines()]
    assert [event["code"] for event in events if event["type"] == "diagnostic"] == ["PD402"]


def test_events_do_not_change_the_output(here: Workspace) -> None:
    """They stand beside what people read."""
    assert here.ok("--json-into", "events.ndjson", "plan", "--format", "json", "--offline", code=1).code == 1
    here.ok("-q", "snapshot")
    with_events = here.ok("--json-into", "events.ndjson", "plan", "--offline").out
    assert with_events == here.ok("plan", "--offline").out


def test_a_file_for_events_that_cannot_be_written_is_said(here: Workspace) -> None:
    """In words, before anything is applied."""
    ran = here.ok("--json-into", "missing/events.ndjson", "apply", "--auto-approve", code=1)
    assert ("missing/events.ndjson" in ran.err, "PD900" in ran.err) == (True, False)
    assert here.box.log.port_writes() == []


def test_a_plan_file_that_cannot_be_written_is_said(here: Workspace) -> None:
    """In words, with the path."""
    ran = here.ok("plan", "--out", "missing/saved.pdplan", code=1)
    assert ("missing/saved.pdplan" in ran.err, "PD900" in ran.err) == (True, False)


# --- equal bytes


def test_plans_are_byte_equal_on_every_hash_seed(here: Workspace) -> None:
    """The same catalog, snapshot, Port and state give the same document, text, Markdown and page in any process."""
    here.ok("-q", "snapshot")
    forms = ("json", "text", "markdown", "html")
    code = f"from pdsync.cli import run; [run(['-q', 'plan', '--offline', '--format', form]) for form in {forms}]"
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=here.folder,
            env=here.environment({"PYTHONHASHSEED": seed}),
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "77")
    }
    assert len(told) == 1
    assert all(sign in min(told) for sign in (b'{"base"', b"Plan: 16 to create", b"<summary>", b"<!doctype html>"))


def test_a_snapshot_file_gives_the_same_plan(here: Workspace) -> None:
    """A snapshot that was written to a file is as good as the one of the state."""
    here.ok("-q", "snapshot")
    here.ok("-q", "snapshot", "--out", "elsewhere.jsonl")
    kept = here.plan("--offline")
    given = here.plan("--snapshot", "elsewhere.jsonl")
    assert kept["changes"] == given["changes"]


def test_verbose_shows_everything(here: Workspace) -> None:
    """-v unfolds: every create with all its fields."""
    plain, verbose = here.ok("plan").out, here.ok("-v", "plan").out
    assert (plain.count(" status "), verbose.count(" status ")) == (2, 10)


def test_output_into_a_closed_pipe_ends_quietly(here: Workspace) -> None:
    """`pdsync plan | head -1` prints no traceback, and an apply whose plan nobody could read is not done."""
    for command in (["-v", "plan", "--format", "json"], ["-q", "apply", "--auto-approve"]):
        with here.start("-q", *command) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert (process.stderr.read(), process.wait()) == ("", 1)
    assert here.box.log.port_writes() == []


def shell(here: Workspace, command: str) -> subprocess.CompletedProcess[str]:
    """A command line with what a shell does to its streams."""
    words = command.replace("pdsync", f"{sys.executable} -m pdsync", 1)
    return subprocess.run(
        words, shell=True, cwd=here.folder, env=here.environment({}), capture_output=True, encoding="utf-8", check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written_is_said(here: Workspace) -> None:
    """A full disk is no riddle."""
    ran = shell(here, "pdsync schema plan > /dev/full")
    assert (ran.returncode, "error[PD819]" in ran.stderr, "No space left" in ran.stderr) == (1, True, True)


def test_what_happened_beside_other_things_is_said_as_if_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk while several things are done is a full disk."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert report(BaseExceptionGroup("", [ExceptionGroup("", [full])]), []) == 1
    assert "PD819" in capsys.readouterr().err


def test_closed_streams_are_no_trouble(here: Workspace) -> None:
    """Whoever wants to hear nothing closes what would be said."""
    assert shell(here, "pdsync validate 2>&-").stdout == here.ok("validate").out
    assert [shell(here, f"pdsync validate {closed}").returncode for closed in (">&-", "<&- >&- 2>&-")] == [0, 0]


def test_nothing_in_a_plan_is_a_command_to_githubs_runner(applied: Workspace) -> None:
    """Not even in a workflow that runs pdsync by itself: neither a line of a text nor a title that anybody may write."""
    applied.write(PLACE, MAPPING.replace("status: .status", """status: '"kept\\n::error::x\\n##[error]y\\nlast"'""", 1))
    applied.ok("-q", "apply", "--auto-approve")
    key = min(applied.box.store.entities("service"))
    edited = {"title": "##[add-mask]t", "properties": {"status": "kept\n::error::x\n##[error]y\nedited"}}
    applied.box.store.put_entity("service", {"identifier": key, **edited})
    command = re.compile(r"^\s*::[a-z]|##\[", re.MULTILINE)
    assert command.findall(applied.ok("plan").out)[1:]
    one = ["explain", f"service/{key}"]
    documents = [["plan", "--format", form] for form in ("json", "markdown", "html")]
    documents += [[*words, "--format", "json"] for words in (["drift"], one)]
    for words in (["plan"], ["drift"], one, *documents, ["apply", "--auto-approve"]):
        ran = applied.ok(*words, GITHUB_ACTIONS="true", NO_COLOR="1")
        assert command.findall(ran.out + ran.err) == []
        assert key in ran.out
