"""`plan --base`: what this branch changes, and apart from it what would be done without it."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from git import Repo

from pdsync.catalog.history import CatalogHistory
from pdsync.errors import CatalogError
from tests.cli.test_causes import PLACE, commit
from tests.cli.workspace import MAPPING

if TYPE_CHECKING:
    from tests.cli.workspace import Workspace


@pytest.fixture
def branched(here: Workspace) -> Workspace:
    """A branch with its own titles of services, off a main that is applied; since then PagerDuty and Port have moved."""
    Repo.init(here.folder, initial_branch="main")
    here.write(".gitignore", "state/\n*.jsonl\n*.pdplan\n")
    commit(here, "First")
    here.ok("-q", "apply", "--auto-approve")
    with Repo(here.folder) as repo:
        repo.git.checkout("-q", "-b", "feature")
    here.write(PLACE, MAPPING.replace("title: .name", 'title: .name + "!"', 1))
    commit(here, "Shout")
    first, second, *_ = services(here)
    here.box.mutate({"action": "delete_service", "id": first})
    here.box.store.put_entity("person", {"identifier": min(here.box.world.users), "title": "By hand"})
    here.box.store.put_entity("service", {"identifier": second, "properties": {"status": "by hand"}})
    return here


def pin(here: Workspace) -> None:
    """Save a snapshot that is later than what was applied: times are told to the second."""
    time.sleep(1 - time.time() % 1)
    here.ok("-q", "snapshot", "--out", "pinned.jsonl")


def services(here: Workspace) -> list[str]:
    return sorted(here.box.store.entities("service"))


def keys(plan: dict[str, Any], numbers: list[int]) -> list[str]:
    return [f"{c['blueprint']}/{c['identifier']}" for c in plan["changes"] if c["n"] in numbers]


def test_the_branch_leads_and_the_rest_is_counted(branched: Workspace) -> None:
    """Its changes, those that the base does otherwise, and by cause what both do; the plan is the one without a base."""
    gone, both, *others = services(branched)
    pin(branched)
    pinned = ("--snapshot", "pinned.jsonl")
    branched.box.log.clear()
    plan = branched.plan("--base", "main", *pinned)
    asked = [(r.method, r.path) for r in branched.box.log.all("port")]
    alone = branched.plan(*pinned)
    branch = plan.pop("branch")
    alone.pop("branch")
    differing = {name for name in plan.keys() | alone.keys() if plan.get(name) != alone.get(name)}
    assert differing == {"checksum"}  # it is of the branch as well
    assert keys(plan, branch["new"]) == [f"service/{name}" for name in others]
    assert [each["n"] for each in branch["otherwise"]] == [c["n"] for c in plan["changes"] if c["identifier"] == both]
    assert [f["path"] for each in branch["otherwise"] for f in each["base"]["fields"]] == ["properties.status"]
    assert (branch["gone"], branch["ref"]) == ([], "main")
    rest = [c for c in plan["changes"] if c["n"] not in branch["new"] and c["identifier"] != both]
    assert sum(branch["rest"].values()) == len(rest)
    assert branch["rest"]["drift"] == 1
    assert gone in {c["identifier"] for c in rest}
    assert sum("/entities" in path and "person" in path for _, path in asked) <= 2  # all of it, and who edited it


def test_it_is_the_same_again(branched: Workspace) -> None:
    """From one snapshot every format is byte for byte what it was; the branch stands in front of the rest."""
    pin(branched)
    command = ("-q", "plan", "--base", "main", "--snapshot", "pinned.jsonl")
    whole = branched.ok(*command, "--format", "json").out
    assert branched.ok(*command, "--format", "json", "--out", "saved.pdplan").out == whole
    for form, lead, rest in (
        ("text", "What this branch changes (2 new, 1 otherwise)", "The rest, with or without this branch\n  drift 1  "),
        ("markdown", "**This branch:** 0 to create, 3 to update, 0 to delete.", "<summary>The rest, with or without"),
        ("html", '"this branch",[', '"the rest",['),
    ):
        shown = branched.ok("show", "saved.pdplan", "--format", form).out
        assert 0 < shown.index(lead) < shown.index(rest)
        assert branched.ok(*command, "--format", form).out == shown


def test_the_base_is_where_the_branch_left(branched: Workspace) -> None:
    """What main did since is not the branch's doing; beside itself a branch changes nothing."""
    with Repo(branched.folder) as repo:
        left = str(repo.commit("main").hexsha)
        repo.git.checkout("-q", "main")
        branched.write(PLACE, MAPPING.replace("role: .role", 'role: .role + "!"'))
        commit(branched, "Main goes on")
        repo.git.checkout("-q", "feature")
    branch = branched.plan("--base", "main")["branch"]
    assert (branch["commit"], branch["gone"]) == (left, [])
    assert branched.run("-q", "plan", "--base", "HEAD").out.count("\nThis branch changes nothing.\n") == 1
    assert branched.plan("--base", "HEAD")["branch"]["new"] == []


def test_a_saved_plan_with_a_base_is_applied(branched: Workspace) -> None:
    """What it is beside tells something to people; what is done is the plan."""
    branched.run("-q", "plan", "--base", "main", "--out", "saved.pdplan", "--allow-deletes", "service=1")
    assert "What this branch changes" in branched.ok("show", "saved.pdplan").out
    branched.run("apply", "saved.pdplan")
    assert branched.changes() == []


def test_problems_say_whose_they_are(branched: Workspace) -> None:
    """On stderr and among the events: what the branch brings apart from what was there, catalog warnings included."""
    wrong = MAPPING.replace("role: .role", "role: '.role | error'").replace("title: .title", "title: .no_such_thing")
    branched.write(PLACE, wrong)
    branched.write("catalog/elsewhere/old.yaml", "{}")
    commit(branched, "Wrong already")
    branched.write("catalog/elsewhere/new.yaml", "{}")
    branched.write(
        PLACE, wrong.replace("status: .status\n            url", "status: '.status | error'\n            url")
    )
    ran = branched.ok("--json-into", "events.jsonl", "plan", "--base", "HEAD", code=1)
    sections = re.split("(With or without|Of) this branch:", ran.err)[1:]
    mine, rest = (
        "".join(t for head, t in zip(sections[::2], sections[1::2], strict=True) if head == which)
        for which in ("Of", "With or without")
    )
    for place, new in ((f"{PLACE}:11:", True), (f"{PLACE}:22:", False), ("/new.yaml:", True), ("/old.yaml:", False)):
        assert (place in mine, place in rest) == (new, not new), place
    events = [orjson.loads(line) for line in (branched.folder / "events.jsonl").read_text("utf-8").splitlines()]
    told = {(e["part"], e["origin"]["line"]) for e in events if e["type"] == "diagnostic" and e["origin"]}
    assert {("branch", 11), ("rest", 22)} <= told
    assert "this branch:" not in branched.ok("plan", code=1).err


def test_port_is_asked_each_thing_once_for_both_plans(branched: Workspace) -> None:
    """Also whether it would take what both would write; what it says in between does not set the plans apart."""
    pin(branched)
    branched.box.log.clear()
    branched.ok(
        "-q", "plan", "--base", "main", "--snapshot", "pinned.jsonl", "--validate-remote", "--no-delete", code=3
    )
    asked = Counter((r.method, r.path, r.query, r.body) for r in branched.box.log.all("port"))
    assert sum("validation_only=true" in query for _, _, query, _ in asked) > 1
    listed = ("GET", "/v1/blueprints")
    assert [each for each, times in asked.items() if times > 1 and each[:2] != listed] == []
    about = [
        write["identifier"] + write.get("title", "")
        for r in branched.box.log.port_writes()
        for write in orjson.loads(r.body)["entities"]
    ]
    assert len(about) == len({*about})


def test_what_either_catalog_made_of_a_record_is_remembered(branched: Workspace) -> None:
    """The next plan beside the base maps nothing anew, and leaves what is remembered as it was."""
    branched.ok("-q", "plan", "--base", "main")
    memo = branched.folder / "state" / "memo.jsonl"
    remembered = memo.read_bytes()
    assert len(orjson.loads(remembered.partition(b"\n")[0])["rules"]) == 4  # three of each, two of them in both
    branched.ok("-q", "plan", "--base", "main")
    assert memo.read_bytes() == remembered


def test_a_plan_with_a_base_is_rebased_beside_it(branched: Workspace) -> None:
    """Its base is kept, by name; what is identical is approved, whichever part it is of; another base may be given."""
    gone, both, other, *_ = services(branched)
    branched.run("-q", "plan", "--base", "main", "--out", "saved.pdplan", "--allow-deletes", "service=1")
    branched.box.mutate({"action": "rename_service", "id": other, "name": "Once more"})
    ran = branched.ok("plan", "--rebase", "saved.pdplan", "--out", "fresh.pdplan")
    assert re.search(r"Rebased: \d+ identical, 0 no longer needed, 1 to be looked at\.", ran.out)
    assert (f"service/{other}" in ran.out, both in ran.out, gone in ran.out) == (True, False, False)
    old, fresh = (branched.ok("show", name, "--format", "json").json for name in ("saved.pdplan", "fresh.pdplan"))
    assert (fresh["branch"]["ref"], fresh["branch"]["commit"]) == ("main", old["branch"]["commit"])
    assert [c["identifier"] for c in fresh["changes"] if c["n"] in fresh["unreviewed"]] == [other]
    now, before = ([*p["branch"]["new"], *(each["n"] for each in p["branch"]["otherwise"])] for p in (fresh, old))
    assert {*keys(fresh, now)} == {*keys(old, before)}
    branched.ok("-q", "plan", "--rebase", "saved.pdplan", "--base", "HEAD", "--out", "other.pdplan")
    assert branched.ok("show", "other.pdplan", "--format", "json").json["branch"]["ref"] == "HEAD"
    branched.ok("apply", "fresh.pdplan", "--auto-approve")
    assert branched.changes() == []


def test_guards_and_exit_codes_are_the_plans(branched: Workspace) -> None:
    """Deletes that the branch would cause are withheld as ever, named as its own; changes are told by exit code 2."""
    assert branched.run("-q", "plan", "--base", "main", "--detailed-exitcode").code == 2
    nobody = MAPPING.replace(
        "kind: users\n    selector: {query: 'true'}", "kind: users\n    selector: {query: 'false'}"
    )
    branched.write(PLACE, nobody)
    ran = branched.ok("plan", "--base", "main", code=3)
    assert "What this branch changes" in ran.out
    assert "Deletes withheld (" in ran.out.partition("The rest, with or without")[0]
    assert "--allow-deletes person=3" in ran.err


def test_a_base_without_a_catalog(branched: Workspace) -> None:
    """All of it is the branch's."""
    with Repo(branched.folder) as repo:
        empty = repo.git.commit_tree("-m", "Nothing", repo.git.hash_object("-t", "tree", "-w", "/dev/null"))
    ran = branched.run("plan", "--base", empty, "--offline")
    assert f"{empty} has no catalog yet" in ran.err
    assert "What this branch changes" in ran.out


def test_a_base_that_does_not_load(branched: Workspace, tmp_path: Any) -> None:
    """Each way is named, with what to do; nothing is asked of anybody."""
    branched.box.log.clear()
    for ref in ("nowhere", "HEAD~99", "--", ""):
        ran = branched.ok("plan", f"--base={ref}", code=1)
        told = f"git fetch origin {ref}`" if ref else "--base is empty"
        assert ("PD650" in ran.err, told in ran.err, ran.out) == (True, True, "")
    branched.write(PLACE, MAPPING.replace("identifier: .id", "identifier: '.id |'", 1))
    broken = commit(branched, "Broken")
    branched.write(PLACE, MAPPING)
    ran = branched.ok("plan", "--base", broken, code=1)
    assert ("PD651" in ran.err, f"{PLACE}:" in ran.err, f"--ref {broken[:10]}" in ran.err) == (True, True, True)
    assert (branched.box.log.all("port"), branched.box.log.all("pagerduty")) == ([], [])


def test_a_base_that_is_not_here_is_fetched(branched: Workspace) -> None:
    """By its full name and from origin alone; what is here already is not asked for."""
    history = CatalogHistory(branched.folder / "catalog")
    with Repo(branched.folder) as repo:
        sha, elsewhere = str(repo.head.commit.hexsha), branched.folder.parent / "elsewhere"
        repo.clone(str(elsewhere), multi_options=["--bare"]).close()
        history.fetch(sha, {})
        with pytest.raises(CatalogError, match="the base cannot be read"):
            history.fetch("0" * 40, {})
        repo.create_remote("origin", elsewhere.as_uri())
        with Repo(elsewhere) as other:
            later = other.git.commit_tree("-m", "Later", "-p", sha, f"{sha}^{{tree}}")
            other.git.update_ref("refs/heads/later", later)
        history.fetch(later, {})
        assert repo.commit(later).message == "Later\n"
    for option in ("--upload-pack=touch x", "main", later[:10]):
        with pytest.raises(CatalogError):
            history.fetch(option, {})


def test_outside_of_git(here: Workspace) -> None:
    """There is no base."""
    assert "PD650" in here.ok("plan", "--base", "main", code=1).err
