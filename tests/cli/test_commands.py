"""Each command on its own: init, validate, schema, snapshot, show, drift, eval, state, sandbox."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from pdsync.cli import COMMANDS, HIDDEN
from pdsync.state.snapshot_file import parse_snapshot
from tests.cli.workspace import MAPPING
from tests.state.servers import Web, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.workspace import Workspace


def a_service(here: Workspace) -> str:
    return min(here.box.store.entities("service"))


# --- help


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in HIDDEN])
def test_every_command_explains_itself(here: Workspace, name: str) -> None:
    """`--help` of each command: exit 0, its usage, and every option has words."""
    out = here.ok(name, "--help").out
    assert out.startswith(f"Usage: pdsync {name}")
    assert [
        line
        for line in re.findall(r"^  (-\S.*)$", out, re.MULTILINE)
        if re.fullmatch(r"-\S+(, --\S+)?( [A-Z]+)?", line)
    ] == []


def test_help_lists_every_command_and_exit_code(here: Workspace) -> None:
    """The overview has all commands but the hidden ones, the variables, and the exit codes."""
    out = here.ok("--help").out
    assert [name for name in COMMANDS if (f"  {name} " in out) == (name in HIDDEN)] == []
    assert "PORT_CLIENT_SECRET" in out
    assert "7 snapshot not complete" in out


def test_version(here: Workspace) -> None:
    """One line: name and version."""
    assert re.fullmatch(r"pdsync \d+\.\d+\.\d+\S*\n", here.ok("--version").out)


# --- init, validate, schema


def test_init_makes_a_catalog_that_plans(tmp_path: Path, here: Workspace) -> None:
    """A fresh folder gets catalog, workflow and state folder; it is valid and plans without any edit."""
    (tmp_path / "fresh").mkdir()
    before = here.folder
    here.folder = tmp_path / "fresh"
    ran = here.ok("init")
    written = re.findall(r"^wrote  (\S+)$", ran.out, re.MULTILINE)
    assert {
        "catalog/pdsync.yaml",
        "catalog/mappings/pagerduty.yaml",
        ".github/workflows/pdsync.yml",
        "state/.gitignore",
    } <= set(written)
    assert sorted(here.files()) == sorted(written)
    assert "valid" in here.ok("validate").out
    assert "to create, 0 to update, 0 to delete." in here.ok("plan").out
    here.folder = before


def test_init_leaves_what_is_there(here: Workspace) -> None:
    """A file that exists is kept, byte for byte, and said."""
    before = here.files()
    ran = here.ok("init")
    assert "kept   catalog/pdsync.yaml (it was there)" in ran.out
    assert {name: here.files()[name] for name in before} == before
    assert "wrote" not in here.ok("init").out


def test_init_sees_to_the_place_of_the_state(here: Workspace, tmp_path: Path) -> None:
    """One that honours conditions is fine, and told of; one that does not is refused, with what was written kept."""
    with serving(Web(), "pdsync") as (address, shelf):
        shelf.token = "Bearer t"
        ran = here.ok("init", "--state", f"{address}/pdsync/production", PDSYNC_STATE_HTTP_TOKEN="t")
        assert "The state can be kept at" in ran.out
        assert (shelf.unconditional(), list(shelf.objects)) == ([], ["/pdsync/production/pdsync-probe"])
        shelf.honours_match = False
        url = f"{address}/pdsync/production"
        assert "PD551" in here.ok("init", "new", "--state", url, code=1, PDSYNC_STATE_HTTP_TOKEN="t").err
        assert (tmp_path / "new/catalog/pdsync.yaml").exists()
    assert "The state can be kept" not in here.ok("init").out


def test_validate_says_all_problems_at_once(here: Workspace) -> None:
    """Every problem of every file, with its place; exit 1; in each format."""
    here.write(
        "catalog/mappings/pagerduty.yaml",
        MAPPING.replace(".role", ".role |").replace("kind: incidents", "kind: incident"),
    )
    text = here.ok("validate", code=1).out
    assert ("catalog/mappings/pagerduty.yaml:22:" in text, "did you mean" in text.lower()) == (True, True)
    problems = here.ok("validate", "--format", "json", code=1).json
    assert len(problems if isinstance(problems, list) else problems["diagnostics"]) >= 2
    sarif = here.ok("validate", "--format", "sarif", code=1).json
    assert sarif["version"] == "2.1.0"
    assert "::error file=catalog/mappings/pagerduty.yaml" in here.ok("validate", "--format", "github", code=1).out


def test_a_project_is_called_as_its_team_likes(here: Workspace) -> None:
    """Its name goes into a header, which has fewer letters."""
    here.write("catalog/pdsync.yaml", 'name: " Übersicht\\r\\nof 東京 "\n')
    here.ok("drift")


def test_notes_that_are_not_shown_are_counted(here: Workspace) -> None:
    """Somebody may want them: that PagerDuty lists incidents of the last 30 days alone, say."""
    catalog = (
        "resources:\n- kind: incidents\n  selector: {query: 'true'}\n  port: {entity: {mappings: {identifier: .id, "
    )
    here.write("catalog/mappings/pagerduty.yaml", catalog + "blueprint: '\"pagerdutyIncident\"'}}}\n")
    told = here.ok("validate").out
    assert "; `pdsync --verbose validate` has " in told
    assert "PD171" not in told
    assert "PD171" in here.ok("--verbose", "validate").out


def test_validate_asks_nobody(here: Workspace) -> None:
    """It needs no account and no network."""
    here.ok("validate", PORT_CLIENT_ID="", PORT_CLIENT_SECRET="", PAGERDUTY_TOKEN="")
    assert list(here.box.log) == []


def test_a_missing_catalog_is_said(here: Workspace) -> None:
    """With the folder that was looked for."""
    for command in ("validate", "plan"):
        ran = here.ok("--catalog", "nowhere", command, code=1)
        assert "nowhere" in ran.out + ran.err


def test_schemas_are_schemas(here: Workspace, tmp_path: Path) -> None:
    """Listed, printed one by one, and written as files; each is valid JSON Schema."""
    names = here.ok("schema").out.split()
    assert names == sorted(["blueprint", "explanation", "mapping", "plan", "project", "test", "webhook"])
    for name in names:
        Draft202012Validator.check_schema(here.ok("schema", name).json)
    here.ok("schema", "--out", "schemas")
    assert sorted(p.name for p in (tmp_path / "schemas").iterdir()) == [f"{name}.schema.json" for name in names]
    assert "one of" in here.ok("schema", "nonsense", code=1).err


def test_the_mapping_schema_takes_the_starter(here: Workspace) -> None:
    """What an editor checks against accepts what `init` writes."""
    here.ok("--catalog", "starter", "init")
    validator = Draft202012Validator(here.ok("schema", "mapping").json)
    given: Any = YAML(typ="safe").load((here.folder / "starter/mappings/pagerduty.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(given)] == []


# --- snapshot and eval


def test_a_snapshot_is_kept_and_told(here: Workspace) -> None:
    """A line per query, complete; in the state it can be read back whole."""
    ran = here.ok("snapshot")
    kept = parse_snapshot((here.folder / "state" / "snapshot.jsonl").read_bytes(), "s")
    assert len(kept.collections) == 3
    assert re.findall(r"^(\w+) .* yes +full$", ran.out, re.MULTILINE) == ["incidents", "services", "users"]
    assert here.box.log.all("port") == []


def test_a_snapshot_of_some_kinds(here: Workspace) -> None:
    """--kind fetches only that, --out leaves the state alone; a kind that nobody maps is said."""
    here.ok("snapshot", "--kind", "services", "--out", "some.jsonl")
    taken = parse_snapshot((here.folder / "some.jsonl").read_bytes(), "s")
    assert [query.kind for query in taken.collections] == ["services"]
    assert not (here.folder / "state").exists()
    assert "known are incidents, services, users" in here.ok("snapshot", "--kind", "teams", code=1).err


def test_deletes_are_withheld_for_kinds_that_were_not_fetched(applied: Workspace) -> None:
    """A snapshot of one kind proves nothing about the others."""
    applied.ok("-q", "snapshot", "--kind", "services", "--out", "some.jsonl")
    ran = applied.ok("plan", "--snapshot", "some.jsonl", "--format", "json", code=1)
    assert ran.err.count("error[PD241]") == 2
    assert [c for c in ran.json["changes"] if c["action"] == "delete"] == []
    assert {w["blueprint"] for w in ran.json["withheld"]} == {"person", "incident"}


def test_a_saved_snapshot_deletes_nothing_that_was_made_from_a_newer_one(applied: Workspace) -> None:
    """It does not know that; with what is kept gone, nothing else would tell either."""
    applied.ok("snapshot", "--out", "old.jsonl")
    assert "No changes." in applied.ok("plan", "--snapshot", "old.jsonl").out
    applied.box.mutate({"action": "add_service", "name": "Later"})
    applied.ok("-q", "apply", "--auto-approve")
    (applied.folder / "state/snapshot.jsonl").unlink()
    ran = applied.ok("plan", "--snapshot", "old.jsonl", "--format", "json", code=3)
    assert ([*ran.json["changes"]], len(ran.json["withheld"])) == ([], 1)
    assert {each["code"] for each in ran.json["diagnostics"]} == {"PD343"}


def test_offline_needs_a_snapshot(here: Workspace) -> None:
    """Without one it says which command takes it."""
    for command in (["plan", "--offline"], ["eval", "services", "PX"]):
        assert "pdsync snapshot" in here.ok(*command, code=1).err


def test_eval_shows_a_record_value_by_value(here: Workspace) -> None:
    """Every expression with its place and what it gave, and the entity that comes of it."""
    here.ok("-q", "snapshot")
    service = min(here.box.world.services)
    out = here.ok("eval", "services", service).out
    assert f"services/{service} under" in out
    assert "catalog/mappings/pagerduty.yaml:8:18" in out
    assert f"  = service/{service}" in out


def test_eval_suggests(here: Workspace) -> None:
    """An unknown record or kind is told what there is."""
    here.ok("-q", "snapshot")
    service = min(here.box.world.services)
    assert service in here.ok("eval", "services", service[:-1] + "?", code=1).err
    assert "mapped kinds: incidents, services, users" in here.ok("eval", "nonsense", "x", code=1).err


# --- show and drift


def test_show_a_saved_plan(here: Workspace) -> None:
    """As it was printed when it was made; in each format."""
    printed = here.ok("plan", "--out", "saved.pdplan").out
    assert here.ok("show", "saved.pdplan").out == printed
    assert (
        here.ok("show", "saved.pdplan", "--format", "json").out.encode() == (here.folder / "saved.pdplan").read_bytes()
    )
    assert here.ok("show", "saved.pdplan", "--format", "markdown").out.startswith("### tests")


def test_show_state_history_run_and_entity(applied: Workspace) -> None:
    """What is owned, which runs there were, what one of them did, and what we last wrote to one thing."""
    assert "service    4         0" in applied.ok("show").out
    history = applied.ok("show", "history", "--format", "json").json
    assert [(run["changes"], run["done"], run["state"]) for run in history] == [(16, 16, 1)]
    assert applied.ok("show", history[0]["run"]).out.count("  done\n") == 16
    key = f"service/{a_service(applied)}"
    assert applied.ok("show", key).out.startswith(f"{key}  created\n")
    assert applied.ok("show", "service").out.startswith("service  created\n")


def test_show_suggests(applied: Workspace) -> None:
    """Something that is not owned is told what is near."""
    key = f"service/{a_service(applied)}"
    assert key in applied.ok("show", key[:-1] + "?", code=1).err


def test_drift_names_what_changed_and_what_is_gone(applied: Workspace) -> None:
    """Field by field; then nothing once an apply has put it right."""
    first, second, *_ = sorted(applied.box.store.entities("person"))
    assert "No drift" in applied.ok("drift").out
    applied.box.store.put_entity("person", {"identifier": first, "title": "edited"})
    applied.box.store.delete_entity("person", second)
    out = applied.ok("drift").out
    assert (f"~ person/{first}" in out, '-> "edited"' in out, f"~ person/{second}" in out) == (True, True, True)
    assert [d["key"] for d in applied.ok("drift", "--format", "json").json] == [["person", first], ["person", second]]
    applied.ok("-q", "apply", "--auto-approve")
    assert "No drift" in applied.ok("drift").out


# --- state


def test_state_list_takes_globs(applied: Workspace) -> None:
    """All that is owned, sorted, or what the globs cover."""
    everything = applied.ok("state", "list").out.split()
    assert everything[:3] == ["incident", "person", "service"]
    assert len(everything) == 16
    assert applied.ok("state", "list", "service/*").out.split() == [k for k in everything if k.startswith("service/")]
    assert applied.ok("state", "list", "nothing*").out == ""


def test_state_check_reads_everything(applied: Workspace) -> None:
    """Ledger, snapshot and journal are whole, or the damaged one is named."""
    out = applied.ok("state", "check").out
    assert ("serial 1, 13 entities" in out, "1 run, 0 cut short" in out) == (True, True)
    snapshot = applied.folder / "state" / "snapshot.jsonl"
    snapshot.write_bytes(snapshot.read_bytes()[:-9])
    ran = applied.ok("state", "check", code=1)
    assert ("PD501" in ran.err, "snapshot.jsonl" in ran.err) == (True, True)


def test_unlock_without_a_lock_is_said(applied: Workspace) -> None:
    """There is nothing to break."""
    assert "nothing is locked" in applied.ok("unlock", "abc", code=1).err


def test_state_elsewhere(here: Workspace) -> None:
    """--state and PDSYNC_STATE name another folder; the option wins."""
    here.ok("-q", "--state", "here", "apply", "--auto-approve")
    assert (here.folder / "here" / "ledger.jsonl").exists()
    assert here.ok("state", "list", PDSYNC_STATE="here").out != ""
    assert here.ok("--state", "empty", "state", "list", PDSYNC_STATE="here").out == ""
    assert not (here.folder / "state").exists()


def test_an_environment_lays_its_part_over_the_project(here: Workspace) -> None:
    """--environment chooses it; one that is not there is told which are."""
    here.write(
        "catalog/pdsync.yaml",
        "name: tests\nstate: {backend: local, path: one}\nenvironments:\n  eu: {pagerduty: {api_url: https://api.eu.pagerduty.com}}\n",
    )
    ran = here.run("--environment", "us", "validate")
    assert (ran.code, "eu" in ran.out + ran.err) == (1, True)


# --- sandbox


def test_the_sandbox_runs_and_can_be_changed(here: Workspace) -> None:
    """It prints the variables that point to it, serves plans, is changed by command, and ends on Ctrl-C."""
    with here.start("sandbox", "--services", "2", "--users", "2", "--incidents", "0") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        env = dict(re.fullmatch(r"export (\w+)=(.*)\n", line).groups() for line in lines)  # type: ignore[union-attr,misc]
        assert "Plan: 7 to create" in here.ok("plan", **env).out
        command = orjson.dumps({"action": "add_service", "name": "Added"}).decode()
        assert orjson.loads(here.ok("sandbox", "--change", command, **env).out)["name"] == "Added"
        assert "Plan: 8 to create" in here.ok("plan", **env).out
        assert "PD812" in here.ok("sandbox", "--change", "nonsense", code=1, **env).err
        taken = env["PORT_BASE_URL"].rpartition(":")[2]
        for port, why in ((taken, "Address already in use"), ("99999", "port must be 0-65535")):
            told = here.ok("sandbox", "--pagerduty-port", port, code=1).err
            assert "error[PD820]: the sandbox did not start" in told
            assert f"TCP port {port}" in told
            assert why in told
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
