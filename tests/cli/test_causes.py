"""Causes on the command line, with the catalog in git: what did it, where, and who."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from git import Repo

from pdsync.jq.program import prelude
from tests.cli.workspace import BLUEPRINTS, MAPPING

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace

BLUEPRINT_FILE = "catalog/blueprints/all.yaml"
PLACE = "catalog/mappings/pagerduty.yaml"


@pytest.fixture
def committed(here: Workspace) -> Workspace:
    """An applied workspace whose catalog is one commit."""
    Repo.init(here.folder)
    here.write(".gitignore", "state/\n")
    commit(here, "First")
    here.ok("-q", "apply", "--auto-approve")
    return here


def commit(here: Workspace, message: str, author: str = "Ana") -> str:
    with Repo(here.folder) as repo:
        with repo.config_writer() as config:
            config.set_value("user", "name", author)
            config.set_value("user", "email", "ana@example.com")
        repo.git.add("-A")
        repo.git.commit("-qm", message)
        return str(repo.head.commit.hexsha)


def fields(plan: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    return {(c["identifier"], f["path"]): f["causes"] for c in plan["changes"] for f in c["fields"]}


def test_each_cause_says_who_is_behind_it(committed: Workspace) -> None:
    """A commit with its author, a record, an edit in Port; and several at once."""
    renamed, edited, both, *_ = sorted(committed.box.store.entities("service"))
    changed = MAPPING.replace("status: .status\n            url", 'status: .status + "!"\n            url')
    committed.write(PLACE, changed)
    sha = commit(committed, "Shout")
    for service in (renamed, both):
        committed.box.mutate({"action": "rename_service", "id": service, "name": "Renamed"})
    for service in (edited, both):
        committed.box.store.put_entity("service", {"identifier": service, "title": "By hand"})
    plan = committed.plan()
    told = fields(plan)
    assert plan["inexact"] == ""
    assert told[renamed, "title"] == ["source"]
    assert told[edited, "title"] == ["drift"]
    assert told[both, "title"] == ["source", "drift"]
    assert told[renamed, "properties.status"] == ["catalog"]
    assert [(c["id"], c["author"], c["summary"]) for c in plan["commits"].values()] == [(sha, "Ana", "Shout")]
    by = {c["identifier"]: c["edited_by"] for c in plan["changes"]}
    assert (by[edited], by[both], by[renamed]) == ("admin@sandbox.example", "admin@sandbox.example", "")
    text = committed.ok("plan").out
    assert f"[catalog]  {PLACE}:11:21  {sha[:10]} Ana" in text
    assert text.count("edited by admin@sandbox.example 20") == 2
    markdown = committed.ok("plan", "--format", "markdown").out
    assert f"[catalog] {PLACE}:11:21  {sha[:10]} Ana" in markdown
    assert markdown.count("edited by admin@sandbox.example 20") == 2


def test_what_port_does_not_keep_as_written_is_said(committed: Workspace) -> None:
    """Not of an edit with other credentials; of what was last written with ours, what was written and what is there."""
    one, other = sorted(committed.box.store.entities("service"))[:2]
    ours = committed.box.store.entities("service")[one]["createdBy"]
    committed.box.store.put_entity("service", {"identifier": other, "title": "By hand"})
    assert "PD416" not in committed.ok("plan").err
    wrote = committed.box.store.entities("service")[one]["title"]
    committed.box.store.put_entity("service", {"identifier": one, "title": "Cut off"}, by=ours)
    told = committed.ok("plan").err
    assert told.count("warning[PD416]") == 1
    assert f'service/{one}: title was written as "{wrote}" and is "Cut off"; whoever wrote it last' in told
    assert "Drift: 2 changed outside, 1 of them last written by who made them" in committed.ok("drift").out


def test_what_port_empties_when_its_target_goes_is_kept_as_written(committed: Workspace) -> None:
    """A service that somebody deletes in Port takes the relations to it along, with our name still on the incidents."""
    pointed_at = {each["relations"]["service"] for each in committed.box.store.entities("incident").values()}
    committed.box.store.delete_entity("service", min(pointed_at))
    ran = committed.ok("plan")
    assert "relations.service" in ran.out
    assert "PD416" not in ran.err
    assert "last written by who made them" not in committed.ok("drift").out


@pytest.mark.parametrize("name", ["", "state"])
def test_what_goes_with_its_blueprints_part_is_nobodys_edit(committed: Workspace, name: str) -> None:
    """A property that goes, or gets another name, takes its values along: in Port nobody has changed them."""
    part = f"    {name}: {{type: string}}\n" if name else ""
    blueprints = BLUEPRINTS.replace("    status: {type: string, title: Status}\n", part, 1)
    committed.write(BLUEPRINT_FILE, blueprints.replace("service.status", "service.url"))
    mapped = f"            {name}: .status\n" if name else ""
    committed.write(PLACE, MAPPING.replace("            status: .status\n", mapped, 1))
    commit(committed, "Without a status")
    changes = [c for c in committed.plan()["changes"] if c.get("target") != "blueprint"]
    assert {(c["action"], *c["causes"], c["edited_by"]) for c in changes} == {("adopt", "catalog", "")}


def test_a_kind_that_is_not_read_any_more_has_not_moved(committed: Workspace) -> None:
    """With its only mapping gone, nothing of a kind is asked for: that it is not there is the catalog's doing alone."""
    committed.write(
        PLACE, MAPPING[: MAPPING.index("  - kind: users")] + MAPPING[MAPPING.index("  - kind: incidents") :]
    )
    commit(committed, "No people")
    ran = committed.run("-q", "plan", "--format", "json", "--allow-deletes", "person=3")
    people = [c for c in ran.json["changes"] if c["blueprint"] == "person" and c.get("target") != "blueprint"]
    assert {(c["action"], *c["causes"]) for c in people} == {("delete", "catalog")}


def test_a_catalog_that_is_not_committed_is_said_to_be(committed: Workspace) -> None:
    """In every form that names the commit; also for a file that git does not know."""
    told = {}
    for name in ("committed", "not"):
        if name == "not":
            committed.write("catalog/mappings/more.yaml", MAPPING.replace("kind: services", "kind: teams", 1))
        text, page = (committed.run("plan", "--format", form).out for form in ("text", "html"))
        told[name] = ["with uncommitted changes" in each for each in (text.splitlines()[2], page)]
    assert told == {"committed": [False, False], "not": [True, True]}
    (committed.folder / "catalog/mappings/more.yaml").unlink()
    saved = committed.plan()
    committed.write(PLACE, MAPPING + "\n")
    dirty = committed.plan()
    assert (saved["base"]["dirty"], dirty["base"]["dirty"], dirty["base"]["commit"]) == (
        False,
        True,
        saved["base"]["commit"],
    )


def test_an_expression_that_gives_the_same_is_no_cause(committed: Workspace) -> None:
    """The line is another one, but what it gives of the record is what PagerDuty changed."""
    renamed = min(committed.box.store.entities("service"))
    committed.write(PLACE, MAPPING.replace("title: .name", "title: (.name)", 1))
    commit(committed, "Brackets")
    committed.box.mutate({"action": "rename_service", "id": renamed, "name": "Renamed"})
    assert fields(committed.plan()) == {(renamed, "title"): ["source"]}


def test_another_list_is_the_catalogs_doing(committed: Workspace) -> None:
    """What a narrower list does not have is not said to be gone from PagerDuty alone, nor what a wider one has, new."""
    one, *others = sorted(committed.box.world.users)
    asked = f"{{query: 'true', apiQueryParams: {{query: '{committed.box.world.users[one].name}'}}}}"
    committed.write(PLACE, MAPPING.replace("users\n    selector: {query: 'true'}", f"users\n    selector: {asked}"))
    commit(committed, "Fewer")
    allowed = ("--allow-deletes", f"person={len(others)}")
    gone = [c for c in committed.plan(*allowed)["changes"] if c["action"] == "delete"]
    assert {(c["identifier"], c["cause"]) for c in gone} == {(each, "catalog") for each in others}
    committed.ok("-q", "apply", "--auto-approve", *allowed)
    committed.write(PLACE, MAPPING)
    commit(committed, "More")
    assert {c["cause"] for c in committed.plan()["changes"] if c["action"] == "create"} == {"catalog"}


def test_what_the_causes_lack_is_said(committed: Workspace) -> None:
    """Without the records of the last apply, or its commit, the plan says so; the changes are the same."""
    committed.write(PLACE, MAPPING.replace("role: .role", 'role: .role + "!"'))
    exact = committed.plan()
    (committed.folder / "state" / "applied.jsonl").unlink()
    without = committed.plan()
    assert without["inexact"] == "the records of the last apply are not kept on this machine"
    assert (without["fingerprint"], fields(without)) == (exact["fingerprint"], fields(exact))
    assert f"(causes not exact: {without['inexact']})" in committed.ok("plan").out
    for form in ("markdown", "html"):
        assert (
            "the records of the last apply are not kept on this machine" in committed.ok("plan", "--format", form).out
        )
    with Repo(committed.folder) as repo:
        repo.git.checkout("--orphan", "other")
        last = commit(committed, "Afresh")
        repo.git.branch("-D", "master" if "master" in [b.name for b in repo.branches] else "main")
        repo.git.reflog("expire", "--expire=now", "--all")
        repo.git.gc("--prune=now", "-q")
    assert "cannot be read here (git has no commit" in committed.plan()["inexact"]
    (committed.folder / ".git" / "shallow").write_text(f"{last}\n")
    assert "fetch-depth: 0" in committed.plan()["inexact"]


def test_a_line_that_went_is_named_where_it_stood(committed: Workspace) -> None:
    """A field that left the mapping is cleared, by the commit that took it out."""
    committed.write(PLACE, MAPPING.replace("            url: .html_url\n", ""))
    sha = commit(committed, "Without url", "Bo")
    plan = committed.plan()
    assert set(map(tuple, fields(plan).values())) == {("catalog",)}
    (origin,) = {f["origin"] for c in plan["changes"] for f in c["fields"]}
    assert origin.startswith(f"{PLACE}:12:")
    assert (plan["commits"][origin]["id"], plan["commits"][origin]["author"]) == (sha, "Bo")


def test_what_replacing_entities_clears_is_the_catalogs_doing(committed: Workspace) -> None:
    """By the line that switched merging off; what somebody adds after that was applied is drift."""
    service, other, *_ = sorted(committed.box.store.entities("service"))
    committed.box.store.put_entity("service", {"identifier": service, "properties": {"note": "theirs"}})
    assert committed.plan()["changes"] == []
    committed.write(PLACE, f"enableMergeEntity: false\n{MAPPING}")
    sha = commit(committed, "Replace")
    plan = committed.plan()
    (field,) = (f for c in plan["changes"] for f in c["fields"])
    assert (field["causes"], "drift" in field, field["origin"]) == (["catalog"], False, f"{PLACE}:1:20")
    assert plan["commits"][field["origin"]]["id"] == sha
    assert "not mapped, and enableMergeEntity is false" in field["note"]
    committed.ok("-q", "apply", "--auto-approve")
    committed.box.store.put_entity("service", {"identifier": other, "properties": {"note": "theirs"}})
    assert fields(committed.plan()) == {(other, "properties.note"): ["drift"]}


def test_a_mapping_that_moves_to_another_file_changes_nothing(committed: Workspace) -> None:
    """Its rules are known again, also once that is applied, and when one is edited on the way: then for that alone."""
    first = committed.box.store.entities("service")
    (committed.folder / PLACE).rename(committed.folder / "catalog/mappings/all.yaml")
    assert committed.plan()["changes"] == []
    head, *resources = MAPPING.split("  - kind")
    for name, some in (("a", resources[:1]), ("b", resources[1:])):
        committed.write(f"catalog/mappings/{name}.yaml", "  - kind".join([head, *some]))
    (committed.folder / "catalog/mappings/all.yaml").unlink()
    commit(committed, "Two files")
    assert committed.plan()["changes"] == []
    committed.ok("-q", "apply", "--auto-approve")
    assert committed.plan()["changes"] == []
    (committed.folder / "catalog/mappings/a.yaml").rename(committed.folder / "catalog/mappings/c.yaml")
    committed.write("catalog/mappings/c.yaml", "  - kind".join([head, resources[0].replace(".name", '.name + "!"')]))
    commit(committed, "Elsewhere, and louder")
    assert fields(committed.plan()) == {(each, "title"): ["catalog"] for each in first}


def test_after_a_limited_apply_the_causes_that_are_guessed_are_named(committed: Workspace) -> None:
    """What that apply wrote is neither what the catalog of then gives nor what that of now gave as a whole."""
    committed.write(PLACE, MAPPING.replace("title: .name", 'title: .name + "!"'))
    commit(committed, "Shout")
    committed.ok("-q", "apply", "--auto-approve", "--only", "service")
    assert (committed.plan()["inexact"], committed.plan()["summary"]["update"]) == ("", 3)
    renamed = min(committed.box.store.entities("service"))
    committed.box.mutate({"action": "rename_service", "id": renamed, "name": "Renamed"})
    plan = committed.plan()
    assert plan["inexact"].startswith(
        f"service/{renamed}: what was applied last is not what the catalog and the records"
    )
    assert "(that apply was limited or done in part" in committed.ok("plan").out


def test_another_evaluator_is_named_as_the_tool(committed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same catalog and the same records give something else under another version of jq."""
    committed.write(PLACE, MAPPING.replace("role: .role", "role: .role | ascii_upcase"))
    commit(committed, "Upper case")
    with monkeypatch.context() as patch:
        other = "def ascii_upcase: ascii_downcase;\n" + prelude()
        patch.setattr("pdsync.jq.program.prelude", lambda: other)
        patch.setattr("os.cpu_count", lambda: 1)  # nobody maps ahead, in a process that knows nothing of this
        patch.setattr("pdsync.commands.jq_version", lambda: "jq.py 0.1")
        committed.ok("-q", "apply", "--auto-approve")
    (committed.folder / "state" / "memo.jsonl").unlink(missing_ok=True)
    plan = committed.plan()
    assert plan["inexact"] == ""
    assert {c["cause"] for c in plan["changes"]} == {"tool"}
    assert set(map(tuple, fields(plan).values())) == {("tool",)}
    out = committed.ok("plan").out
    assert '  "user" -> "USER"  [tool]  catalog/mappings/pagerduty.yaml:22:19' in out
    assert "\nCauses: tool 3\n" in out
