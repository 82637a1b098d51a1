"""`action.yml` itself, run step by step on this machine: fake GitHub, sandbox PagerDuty and Port, real git, real bash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.sandbox.http import Fault
from pdsync.sandbox.server import Sandbox
from pdsync.sandbox.world import World
from tests.github.composite import Composite, Outcome, clean_environment
from tests.github.fake_github import TOKEN, FakeGitHub

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
IDENTITY = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Someone",
    "GIT_AUTHOR_EMAIL": "someone@example.com",
    "GIT_COMMITTER_NAME": "Someone",
    "GIT_COMMITTER_EMAIL": "someone@example.com",
}
BLUEPRINT = """\
identifier: pagerdutyService
title: PagerDuty Service
icon: pagerduty
schema:
  properties:
    status: {type: string, title: Status}
    url: {type: string, format: url, title: URL}
  required: []
relations: {}
"""
MAPPING = """\
resources:
  - kind: services
    selector:
      query: 'true'
    port:
      entity:
        mappings:
          identifier: .id
          title: .name
          blueprint: '"pagerdutyService"'
          properties:
            status: .status
"""


def git(folder: Path, *arguments: str) -> str:
    env = {**clean_environment(), **IDENTITY}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass
class Team:
    """A team's repository on its server, an engineer's clone of it, and the runners that jobs get."""

    folder: Path
    fake: FakeGitHub
    box: Sandbox
    jobs: int = 0
    uploads: list[dict[str, str]] = field(default_factory=list)
    action: Composite = field(init=False)

    @property
    def bare(self) -> Path:
        return self.folder / "remote.git"

    @property
    def desk(self) -> Path:
        return self.folder / "desk"

    def begin(self) -> None:
        """Nothing but a README on main."""
        self.bare.mkdir()
        git(self.bare, "init", "--bare", "--quiet", "--initial-branch=main")
        git(self.folder, "clone", "--quiet", self.bare.as_uri(), str(self.desk))
        git(self.desk, "checkout", "--quiet", "-B", "main")
        self.commit("main", {"README.md": "A catalog"})

    def commit(self, branch: str, files: dict[str, str]) -> str:
        """Commit these files on a branch and push it; the commit."""
        git(self.desk, "checkout", "--quiet", "-B", branch)
        for name, text in files.items():
            path = self.desk / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        git(self.desk, "add", ".")
        git(self.desk, "commit", "--quiet", "--allow-empty", "-m", "Change the catalog")
        git(self.desk, "push", "--quiet", "origin", branch)
        return git(self.desk, "rev-parse", "HEAD")

    def merge(self, branch: str, number: int) -> str:
        """Squash a branch into main, as the merge button does; the commit."""
        git(self.desk, "checkout", "--quiet", "main")
        git(self.desk, "merge", "--quiet", "--squash", branch)
        git(self.desk, "commit", "--quiet", "-m", f"Add the services (#{number})")
        git(self.desk, "push", "--quiet", "origin", "main")
        sha = git(self.desk, "rev-parse", "HEAD")
        self.fake.merge(number, sha)
        return sha

    def job(self, event: str, payload: dict[str, Any], sha: str, ref: str, **inputs: str) -> Outcome:
        """A job on a fresh runner: shallow checkout of `sha`, then the action."""
        self.jobs += 1
        home = self.folder / f"runner-{self.jobs}"
        workspace, temp = home / "work", home / "temp"
        temp.mkdir(parents=True)
        git(home, "clone", "--quiet", "--no-checkout", "--depth=1", "--branch=main", self.bare.as_uri(), str(workspace))
        git(workspace, "fetch", "--quiet", "--depth=1", "origin", sha)
        git(workspace, "checkout", "--quiet", "--detach", sha)
        (home / "event.json").write_text(json.dumps({"repository": {"id": 1, "default_branch": "main"}, **payload}))
        env = {
            **clean_environment(),
            **IDENTITY,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_EVENT_NAME": event,
            "GITHUB_EVENT_PATH": str(home / "event.json"),
            "GITHUB_REPOSITORY": self.fake.repository,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_API_URL": self.fake.url,
            "GITHUB_SHA": sha,
            "GITHUB_REF": ref,
            "GITHUB_RUN_ID": str(self.jobs),
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(temp),
            "TEST_GITHUB_TOKEN": TOKEN,
        }
        secrets = {name.lower().replace("_", "-"): value for name, value in self.box.env().items()}
        self.action = Composite(ROOT / "action.yml", {"actions/upload-artifact": self._upload})
        return self.action.run({"setup": "none", **secrets, **inputs}, env, temp)

    def _upload(self, given: dict[str, str]) -> dict[str, str]:
        self.uploads.append(given)
        return {"artifact-url": "https://github.example/acme/catalog/artifacts/1"}

    def pull(self, sha: str, action: str = "synchronize", *, number: int = 7, onto: str = "", **inputs: str) -> Outcome:
        """A pull request onto main as it is, or was at `onto`."""
        base = {"ref": "main", "sha": onto or git(self.desk, "rev-parse", "origin/main")}
        pull = {"number": number, "head": {"sha": sha, "repo": {"id": 1}}, "base": base}
        payload = {"action": action, "number": number, "pull_request": pull}
        return self.job("pull_request", payload, sha, f"refs/pull/{number}/merge", **inputs)

    def push(self, sha: str, **inputs: str) -> Outcome:
        payload = {"head_commit": {"message": git(self.desk, "log", "-1", "--format=%B", sha)}}
        return self.job("push", payload, sha, "refs/heads/main", **inputs)


@pytest.fixture
def team(tmp_path: Path, github: FakeGitHub) -> Iterator[Team]:
    world = World(services=4, users=4, teams=1, schedules=1, escalation_policies=1, incidents=2)
    with Sandbox(world) as box:
        made = Team(tmp_path, github, box)
        made.begin()
        github.open_pull(7)
        yield made


def catalog(mapping: str = MAPPING) -> dict[str, str]:
    return {
        "catalog/pdsync.yaml": "name: demo\n",
        "catalog/blueprints/service.yaml": BLUEPRINT,
        "catalog/mappings/pagerduty.yaml": mapping,
    }


def test_from_pull_request_to_applied_and_quiet(team: Team) -> None:
    """Open: a comment. Push again: the same comment, edited. Merge: applied as reviewed. Run again: nothing to do."""
    opened = team.pull(team.commit("services", catalog()), "opened")
    assert opened.success, opened.text
    assert (opened.outputs["mode"], opened.outputs["exitcode"]) == ("plan", "2")
    first = team.fake.bodies(7)
    assert len(first) == 1
    assert f"{opened.outputs['to-create']} to create, 0 to update, 0 to delete" in first[0]
    assert all(service.name in first[0] for service in team.box.world.services.values())
    assert team.box.store.blueprint("pagerdutyService") is None

    head = team.commit("services", catalog(MAPPING + "            url: .html_url\n"))
    again = team.pull(head)
    second = team.fake.bodies(7)
    assert again.success, again.text
    assert (len(second), again.outputs["comment-id"]) == (1, opened.outputs["comment-id"])
    assert second[0] != first[0]
    assert "properties.url" in second[0]

    merged = team.merge("services", 7)
    applied = team.push(merged)
    assert applied.success, applied.text
    third = team.fake.bodies(7)
    assert (applied.outputs["mode"], applied.outputs["changes"], len(third)) == ("apply", "true", 1)
    assert "**Applied**" in third[0]
    assert f"This is exactly the plan that was reviewed on pull request #7 at `{head[:10]}`." in third[0]
    entities = team.box.store.entities("pagerdutyService")
    assert sorted(e["title"] for e in entities.values()) == sorted(s.name for s in team.box.world.services.values())
    assert "ledger.jsonl" in git(team.bare, "ls-tree", "--name-only", "pdsync-state")

    quiet = team.push(merged)
    assert quiet.success, quiet.text
    assert (quiet.outputs["changes"], quiet.outputs["exitcode"]) == ("false", "0")
    assert team.fake.bodies(7) == third

    # A problem that stands on main, a change in PagerDuty, and a base that the shallow checkout does not have.
    team.fake.open_pull(8)
    broken = MAPPING + "            url: .html_url | error\n"
    onto = team.commit("main", catalog(broken))
    team.commit("main", {"README.md": "Main goes on"})
    added = team.box.mutate({"action": "add_service", "name": "Added in PagerDuty"})
    shouted = min(team.box.store.entities("pagerdutyService"))
    shout = f'if .id == "{shouted}" then .status + "!" else .status end'
    mine = team.commit("shout", catalog(broken.replace("status: .status", f"status: '{shout}'")))
    beside = team.pull(mine, "opened", number=8, onto=onto)
    told = team.fake.bodies(8)[0]
    assert beside.success, beside.text
    assert (beside.outputs["exitcode"], beside.outputs["failure-reason"]) == ("1", "")
    assert "**This branch:** 0 to create, 1 to update, 0 to delete. With or without it: 1 to create." in told
    assert "<summary>The rest, with or without this branch: 1</summary>\n\n- source: 1 (PagerDuty has moved)" in told
    assert "(the base has it as well)" in told
    assert {kind for kind, _, _ in beside.log.annotations} == {"warning"}
    assert added["id"] in told

    alone = team.pull(mine, number=8, onto="0" * 40)
    assert (alone.success, alone.outputs["failure-reason"]) == (False, "mapping")
    assert "what this pull request changes is not told apart from the rest" in team.fake.bodies(8)[0]


def test_a_job_that_is_cancelled_while_it_writes_is_finished_by_the_next(team: Team) -> None:
    """What was under way is ended and saved, the rest not begun; nothing is called somebody else's afterwards."""
    sha = team.commit("main", catalog())
    team.box.faults.add(Fault("delay", when="after", api="port", method="POST", path="/blueprints$", seconds=0.5))
    team.box.faults.struck = lambda _: team.action.cancel()
    stopped = team.push(sha)
    assert not stopped.success
    assert "Traceback" not in stopped.text
    assert team.box.store.blueprint("pagerdutyService") is not None
    assert team.box.store.entities("pagerdutyService") == {}
    assert "ledger.jsonl" in git(team.bare, "ls-tree", "--name-only", "pdsync-state")
    finished = team.push(sha)
    assert finished.success, finished.text
    assert (finished.outputs["to-create"], finished.outputs["applied"]) == ("4", "4")
    assert len(team.box.store.entities("pagerdutyService")) == 4


def test_drift_is_seen_on_schedule_and_nothing_is_written(team: Team) -> None:
    """Somebody edits Port by hand: the scheduled run tells, and leaves Port as it is."""
    sha = team.commit("main", catalog())
    assert team.push(sha, comment="never").success
    identifier, entity = next(iter(team.box.store.entities("pagerdutyService").items()))
    team.box.store.put_entity("pagerdutyService", {"identifier": identifier, "title": "by hand"})
    seen = team.job("schedule", {}, sha, "refs/heads/main")
    assert seen.success, seen.text
    assert (seen.outputs["mode"], seen.outputs["drift"], seen.outputs["to-update"]) == ("drift", "true", "1")
    assert team.box.store.entities("pagerdutyService")[identifier]["title"] == "by hand"
    assert entity["title"] != "by hand"

    # A later commit is applied, then the run of the first one is run again: it leaves that alone.
    later = team.commit("main", catalog(MAPPING + "            url: .html_url\n"))
    assert team.push(later, comment="never").outputs["to-update"] == str(len(team.box.world.services))
    old = team.push(sha, comment="never")
    assert (old.success, old.outputs["mode"], old.outputs["failure-reason"]) == (True, "nothing", "")
    assert team.box.store.entities("pagerdutyService")[identifier]["properties"]["url"]
    again = team.push(later, comment="never")
    assert (again.outputs["mode"], again.outputs["changes"]) == ("apply", "false")


def test_an_invalid_catalog_fails_the_pull_request_at_its_line(team: Team) -> None:
    """The annotation stands at file and line of the mistake; nothing is planned."""
    wrong = MAPPING.replace(".name", ".name |")
    done = team.pull(team.commit("services", catalog(wrong)), "opened")
    assert (done.success, done.outputs["failure-reason"]) == (False, "catalog-invalid")
    places = {(kind, where.get("file")) for kind, where, _ in done.log.annotations}
    assert ("error", "catalog/mappings/pagerduty.yaml") in places
    assert "**Nothing was planned**" in team.fake.bodies(7)[0]


def test_the_plan_is_uploaded_on_request(team: Team) -> None:
    """The artifact is the plan file; the comment links to it."""
    done = team.pull(team.commit("services", catalog()), "opened", number=7, onto="", **{"upload-plan": "true"})
    assert [Path(given["path"]).name for given in team.uploads] == ["plan.json"]
    assert done.outputs["artifact-url"] in team.fake.bodies(7)[0]


def test_no_secret_stands_in_what_was_written(team: Team) -> None:
    """Neither in the log that people see, nor in comment, summary, or anything left on the runner."""
    done = team.pull(team.commit("services", catalog()), "opened")
    values = [value for name, value in team.box.env().items() if "URL" not in name]
    files = "".join(path.read_text("utf-8", "replace") for path in (team.folder / "runner-1" / "temp").rglob("*.json"))
    written = "".join(team.fake.bodies(7)) + done.summary + files + "".join(done.log.shown)
    assert [value for value in (*values, TOKEN) if value in written] == []


def test_uv_is_called_with_the_lock_and_nothing_of_the_checkout(tmp_path: Path) -> None:
    """`run.sh` hands over to uv with every switch that keeps a checkout's files and the caller's settings out."""
    folder = tmp_path / "bin"
    folder.mkdir()
    recorder = folder / "uv"
    recorder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv | grep -E "^(UV|PYTHON|VIRTUAL)" | sort\n')
    recorder.chmod(0o755)
    env = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_ACTION_PATH": "/opt/an action",
        "PYTHONPATH": "/evil",
        "UV_PROJECT_ENVIRONMENT": "/their/venv",
        "VIRTUAL_ENV": "/their/venv",
        "PYTHONSAFEPATH": "1",
        "PDSYNC_ACTION_PYTHON_VERSION": "3.12",
    }
    script = ROOT / "pdsync/github/run.sh"
    done = subprocess.run(["bash", str(script), "report"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [
        *("run", "--quiet", "--project", "/opt/an action", "--frozen", "--no-dev", "--no-editable", "--no-config"),
        *("pdsync", "action", "report", "PYTHONSAFEPATH=1", "UV_PYTHON=3.12"),
    ]
