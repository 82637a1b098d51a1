"""The two steps as functions: every outcome has its exit code, its outputs, its comment; nothing leaks."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.errors import (
    Diagnostic,
    IncompleteSnapshot,
    Interrupted,
    Locked,
    Severity,
    SourceError,
    StalePlan,
    TargetError,
    UsageError,
    error,
)
from pdsync.github.action import World, report_action, run_action
from pdsync.github.record import read_marker
from pdsync.github.report import of_base, softer, told_something
from pdsync.plan.branch import with_branch
from tests.github.composite import read_env_file
from tests.github.fake_github import TOKEN, FakeGitHub
from tests.github.plans import change, plan
from tests.github.runner_log import RunnerLog
from tests.github.scripted import CATALOG, Applied, Scripted, open_scripted

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.github.settings import Settings
    from pdsync.model import Plan

SECRETS = {
    "PORT_CLIENT_ID": "port-client-id-value",
    "PORT_CLIENT_SECRET": "port-client-secret-value",
    "PAGERDUTY_TOKEN": "pagerduty-token-value",
}
HEAD = "abcdef0123456789"


@dataclass
class Job:
    """One job's runner and repository; `go` runs both steps as `action.yml` does."""

    folder: Path
    fake: FakeGitHub
    secrets: dict[str, str] = field(default_factory=lambda: dict(SECRETS))
    drawn: int = 0

    def catalog(self, **entities: object) -> None:
        path = self.folder / CATALOG
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(entities, indent=1), "utf-8")

    @property
    def port(self) -> Path:
        return self.folder / "port.json"

    def world(self, **world: Any) -> None:
        self.port.write_text(json.dumps({"entities": {}, "serial": 1, **world}), "utf-8")

    def go(self, event: str = "pull_request", *, operations: Any = None, **inputs: str) -> Result:
        env = self._env(event, inputs)
        opened = (lambda *_: operations) if operations else open_scripted(self.port, self.folder)
        out = io.StringIO()
        world = World(lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), lambda _: None, lambda: 0.0, self._draw)
        ran = run_action(env, out, opened, world)
        outputs = read_env_file((self.folder / "out").read_text("utf-8"))
        folder = {"PDSYNC_ACTION_FOLDER": outputs.get("folder", "")}
        withheld = {name: value for name, value in env.items() if name not in SECRETS}
        reported = report_action({**withheld, **folder}, out, world) if ran == 0 else ran
        outputs = read_env_file((self.folder / "out").read_text("utf-8"))
        return Result(reported, outputs, out.getvalue(), (self.folder / "summary").read_text("utf-8"))

    def _draw(self) -> str:
        self.drawn += 1
        return f"random{self.drawn}"

    def _env(self, event: str, inputs: dict[str, str]) -> dict[str, str]:
        for name in ("out", "summary"):
            (self.folder / name).write_text("")
        payload = self.folder / "event.json"
        payload.write_text(json.dumps(PAYLOADS[event]), "utf-8")
        given = {f"PDSYNC_ACTION_{name.upper()}": value for name, value in {"token": TOKEN, **inputs}.items()}
        return {
            "GITHUB_EVENT_NAME": event.partition(" ")[0],
            "GITHUB_EVENT_PATH": str(payload),
            "GITHUB_REPOSITORY": self.fake.repository,
            "GITHUB_SHA": "merge-commit",
            "GITHUB_REF": "refs/heads/main" if event == "push" else "refs/pull/7/merge",
            "GITHUB_API_URL": self.fake.url,
            "GITHUB_RUN_ID": "42",
            "GITHUB_OUTPUT": str(self.folder / "out"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "RUNNER_TEMP": str(self.folder),
            **self.secrets,
            **given,
        }


@dataclass
class Result:
    """What came of both steps."""

    code: int
    outputs: dict[str, str]
    text: str
    summary: str

    @property
    def log(self) -> RunnerLog:
        runner = RunnerLog()
        for line in self.text.splitlines():
            runner.read(line)
        return runner


REPOSITORY = {"id": 1, "default_branch": "main"}
PAYLOADS: dict[str, dict[str, Any]] = {
    "pull_request": {
        "action": "synchronize",
        "number": 7,
        "pull_request": {"number": 7, "head": {"sha": HEAD, "repo": {"id": 1}}, "base": {"sha": "base"}},
        "repository": REPOSITORY,
    },
    "pull_request fork": {
        "action": "opened",
        "number": 7,
        "pull_request": {"number": 7, "head": {"sha": HEAD, "repo": {"id": 2}}, "base": {"sha": "base"}},
        "repository": REPOSITORY,
    },
    "push": {"repository": REPOSITORY, "head_commit": {"message": "Add a service (#7)"}},
    "schedule": {"repository": REPOSITORY},
    "workflow_dispatch": {"repository": REPOSITORY},
    "merge_group": {"repository": REPOSITORY},
    "pull_request_target": {"repository": REPOSITORY},
}


@pytest.fixture
def job(tmp_path: Path, github: FakeGitHub) -> Job:
    made = Job(tmp_path, github)
    made.catalog(PX1="Payments")
    made.world()
    github.open_pull(7)
    return made


def test_changes_do_not_make_a_pull_request_red(job: Job) -> None:
    """The step ends well, the outputs tell, the comment stands."""
    done = job.go()
    told = {name: done.outputs[name] for name in ("exitcode", "changes", "to-create", "failure-reason", "mode")}
    assert told == {"exitcode": "2", "changes": "true", "to-create": "1", "failure-reason": "", "mode": "plan"}
    assert (done.code, len(job.fake.bodies(7))) == (0, 1)
    assert done.outputs["comment-url"].endswith("#issuecomment-1000")


@pytest.mark.parametrize(
    ("event", "inputs", "withheld", "expected"),
    [
        ("pull_request", {"fail_on_changes": "true"}, 0, (2, "changes")),
        ("pull_request", {}, 1, (0, "")),
        ("pull_request", {"fail_on_withheld": "always"}, 1, (3, "guard")),
        ("push", {}, 1, (3, "guard")),
        ("push", {"fail_on_withheld": "never"}, 1, (0, "")),
        ("push", {"fail_on_changes": "true"}, 0, (0, "")),
        ("schedule", {}, 0, (0, "")),
        ("schedule", {"fail_on_changes": "true"}, 0, (2, "changes")),
        ("merge_group", {}, 0, (0, "")),
    ],
)
def test_when_an_outcome_fails_the_step(
    job: Job, event: str, inputs: dict[str, str], withheld: int, expected: tuple[int, str]
) -> None:
    """Changes on request, withheld deletes as told."""
    job.world(withheld=withheld)
    done = job.go(event, **inputs)
    assert (done.code, done.outputs["failure-reason"]) == expected


def test_a_push_applies_what_was_reviewed_and_says_so(job: Job, github: FakeGitHub) -> None:
    """Plan in the pull request, merge, apply: Port is changed, the comment says applied and that it is the same."""
    job.go()
    github.merge(7, "merge-commit")
    done = job.go("push")
    body = github.bodies(7)[0]
    assert json.loads(job.port.read_text())["entities"] == {"PX1": "Payments"}
    assert "**Applied** from `merge-comm`: 1 done. State 2." in body
    assert "This is exactly the plan that was reviewed on pull request #7 at `abcdef0123`." in body
    assert "This is exactly the plan that was reviewed" in done.summary
    assert (done.code, done.outputs["applied"], done.outputs["pr-number"]) == (0, "1", "7")


def test_an_apply_of_something_else_says_so(job: Job, github: FakeGitHub) -> None:
    """PagerDuty moved between review and merge."""
    job.go()
    github.merge(7, "merge-commit")
    job.catalog(PX1="Payments", PX2="Search")
    job.go("push")
    assert "**This differs from the plan that was reviewed**" in github.bodies(7)[0]


def test_a_second_run_leaves_applied_standing(job: Job, github: FakeGitHub) -> None:
    """Nothing to do is no news on a pull request whose comment says what was applied."""
    job.go()
    github.merge(7, "merge-commit")
    job.go("push")
    before = github.bodies(7)
    done = job.go("push")
    assert (done.code, done.outputs["changes"], github.bodies(7)) == (0, "false", before)


def test_what_was_reviewed_is_known_when_an_apply_is_run_again(job: Job, github: FakeGitHub) -> None:
    """A first run that fails, with a plan or without, leaves the review; what was applied stays said after that."""
    job.go()
    github.merge(7, "merge-commit")
    for broken in (Failing(SourceError(PROBLEM)), Breaking(job, Locked(PROBLEM))):
        assert job.go("push", operations=broken).code > 0
        assert github.bodies(7)[0].split("\n")[1] == "### pdsync apply"
    job.go("push")
    applied = github.bodies(7)
    assert "This is exactly the plan that was reviewed on pull request #7 at `abcdef0123`." in applied[0]
    job.catalog(PX1="Payments", PX2="Search")
    job.go()
    job.go("push", operations=Failing(SourceError(PROBLEM)))
    assert github.bodies(7) == applied


def test_an_old_run_that_is_run_again_undoes_nothing(job: Job, github: FakeGitHub) -> None:
    """A later commit has been applied: the old one is left alone, with a warning, and so is its comment."""
    job.go()
    before = github.bodies(7)
    job.world(overtaken="f" * 40)
    github.merge(7, "merge-commit")
    done = job.go("push")
    assert (done.code, done.outputs["mode"], done.outputs["applied"]) == (0, "nothing", "0")
    assert (json.loads(job.port.read_text())["entities"], github.bodies(7)) == ({}, before)
    assert [(kind, where["title"]) for kind, where, _ in done.log.annotations] == [("warning", "pdsync PD721")]
    assert "Nothing was done for `merge-comm` (`a later commit has been applied already`)." in done.summary
    assert job.go("workflow_dispatch", command="apply").outputs["mode"] == "apply"


def test_a_partial_apply_fails_and_can_be_run_again(job: Job, github: FakeGitHub) -> None:
    """Exit 6, the failure named with Port's words; the next run finishes and says so."""
    job.catalog(PX1="Payments", PX2="Search")
    job.go()
    github.merge(7, "merge-commit")
    job.world(refuse=["PX2"])
    first = job.go("push")
    assert (first.code, first.outputs["failure-reason"], first.outputs["applied"]) == (6, "apply-failed", "1")
    assert "`pagerdutyService/PX2` `422 no such team`" in github.bodies(7)[0]
    job.world(entities={"PX1": "Payments"}, serial=2)
    second = job.go("push")
    record = read_marker(github.bodies(7)[0])
    assert record is not None
    assert record[1] is not None
    assert (second.code, record[1].status) == (0, "applied")


def test_an_invalid_catalog_is_told_at_its_lines(job: Job) -> None:
    """Nothing is planned; annotations point at file and line; the comment lists the problems."""
    job.catalog(PX1="Payments", PX2=None)
    done = job.go()
    assert (done.code, done.outputs["failure-reason"], done.outputs["plan-file"]) == (1, "catalog-invalid", "")
    assert [(kind, where["file"], where["line"]) for kind, where, _ in done.log.annotations] == [
        ("error", "catalog/entities.json", "3")
    ]
    assert "**Nothing was planned** for `abcdef0123`." in job.fake.bodies(7)[0]


class Failing(Scripted):
    """Operations whose plan ends in an exception."""

    def __init__(self, failure: BaseException) -> None:
        object.__setattr__(self, "failure", failure)

    def validate(self) -> tuple[Diagnostic, ...]:
        return ()

    def plan(self, base: str = "") -> Plan:
        raise self.__dict__["failure"]


PROBLEM = error("PD999", "it went wrong")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (IncompleteSnapshot(PROBLEM), (7, "source-incomplete")),
        (Locked(PROBLEM), (5, "state-locked")),
        (StalePlan(PROBLEM), (4, "plan-changed")),
        (UsageError(PROBLEM), (1, "usage")),
        (Interrupted(PROBLEM), (130, "cancelled")),
        (KeyboardInterrupt(), (130, "cancelled")),
        (
            ExceptionGroup("", [ExceptionGroup("", [SourceError(PROBLEM), IncompleteSnapshot(PROBLEM)])]),
            (7, "source-incomplete"),
        ),
        (ExceptionGroup("", [ExceptionGroup("", [TargetError(PROBLEM)]), RuntimeError()]), (1, "target")),
    ],
)
def test_each_failure_has_its_code_and_word(job: Job, failure: BaseException, expected: tuple[int, str]) -> None:
    """The exit codes of the command line, and one word for workflows."""
    done = job.go(operations=Failing(failure))
    assert (done.code, done.outputs["failure-reason"]) == expected


def test_a_defect_is_told_without_a_traceback_or_its_text(job: Job) -> None:
    """Type and place are enough to find it; the text may hold anything."""
    done = job.go(operations=Failing(RuntimeError("pagerduty-token-value")))
    assert (done.code, done.outputs["failure-reason"]) == (1, "defect")
    assert "RuntimeError at action.py:" in done.text
    assert "Traceback" not in done.text
    assert "pagerduty-token-value" not in "".join(done.log.shown)


class Breaking(Scripted):
    """Operations whose apply ends in an exception."""

    def __init__(self, job: Job, failure: Exception) -> None:
        super().__init__(job.folder / CATALOG, job.port, lambda _: None)
        object.__setattr__(self, "failure", failure)

    def apply(self, made: Plan) -> Applied:
        raise self.__dict__["failure"]


@pytest.mark.parametrize(
    ("failure", "code", "said"),
    [
        (Locked(PROBLEM), 5, "**Nothing was applied** from `merge-comm`."),
        (StalePlan(PROBLEM), 4, "**Nothing was applied** from `merge-comm`."),
        (RuntimeError("x"), 1, "**The apply from `merge-comm` was broken off.**"),
    ],
)
def test_an_apply_that_breaks_off_keeps_its_plan(
    job: Job, github: FakeGitHub, failure: Exception, code: int, said: str
) -> None:
    """Outputs and comment still tell what was to be done, and whether anything can have been written."""
    github.merge(7, "merge-commit")
    done = job.go("push", operations=Breaking(job, failure))
    assert (done.code, done.outputs["changes"], said in github.bodies(7)[0]) == (code, "true", True)


def test_no_secret_and_no_derived_token_leaves(job: Job) -> None:
    """Not to GitHub's API, not to the summary, not to files; in the log every secret is masked before anything else."""
    job.catalog(PX1="pagerduty-token-value", PX2="derived-access-token")
    job.world(broken=True)
    failed = job.go()
    job.world()
    planned = job.go()
    values = [*SECRETS.values(), TOKEN, "derived-access-token"]
    files = "".join(path.read_text() for path in job.folder.glob("pdsync-*/*.json"))
    written = "".join(job.fake.bodies(7)) + failed.summary + planned.summary + files
    assert [value for value in values if value in written] == []
    assert set(values) <= set(planned.log.masks)
    assert [value for value in values if value in "".join(planned.log.shown)] == []
    assert "PagerDuty answered 500: with *** in its text" in failed.summary


def test_entities_cannot_command_the_runner(job: Job) -> None:
    """A service called like a workflow command stays a name."""
    job.catalog(PX1="x\n::error::owned\n##[add-path]/tmp\n::stop-commands::a")
    done = job.go()
    assert (done.log.annotations, done.log.others) == ([], [])


class Chatty(Scripted):
    """Operations that print while they work, as progress and warnings do, and make a secret on the way."""

    def __init__(self, job: Job, out: io.StringIO, hide: Callable[[str], None]) -> None:
        super().__init__(job.folder / CATALOG, job.port, hide)
        object.__setattr__(self, "out", out)

    def plan(self, base: str = "") -> Plan:
        self.__dict__["out"].write("::error::an entity\n")
        made = super().plan(base)
        self.__dict__["out"].write("##[add-path]/another/entity derived-access-token\n")
        return made


def test_what_is_printed_during_the_work_commands_nothing(job: Job) -> None:
    """Commands are off meanwhile, but a secret that is made on the way is masked at once."""
    out = io.StringIO()
    run_action(job._env("pull_request", {}), out, lambda _, hide: Chatty(job, out, hide))
    runner = RunnerLog()
    for line in out.getvalue().splitlines():
        runner.read(line)
    assert (runner.annotations, runner.others) == ([], [])
    assert "##[add-path]/another/entity ***" in runner.shown


def test_what_is_not_github_fails_nothing(job: Job, github: FakeGitHub) -> None:
    """A gateway answers the list of comments with something else: they cannot be written, which is told."""
    github.fail_next("GET", "/issues/7/comments", 200)
    done = job.go()
    assert (done.code, done.outputs["comment-failed"]) == (0, "true")
    assert ("warning", "pdsync PD713") in [(kind, where["title"]) for kind, where, _ in done.log.annotations]
    assert "200, application/json" in done.text


def test_without_the_permission_the_step_still_ends_well(job: Job, github: FakeGitHub) -> None:
    """One warning that says which line to add, and an output."""
    github.may_write = False
    done = job.go()
    assert (done.code, done.outputs["comment-failed"]) == (0, "true")
    assert [(kind, "pull-requests: write" in text) for kind, _, text in done.log.annotations] == [("warning", True)]


@pytest.mark.parametrize(
    ("comment", "entities", "expected"),
    [
        ("always", {"PX1": "Payments"}, 1),
        ("changes-only", {"PX1": "Payments"}, 0),
        ("changes-only", {}, 1),
        ("never", {}, 0),
    ],
)
def test_when_there_is_a_comment(job: Job, comment: str, entities: dict[str, str], expected: int) -> None:
    """Always, only with changes, or never."""
    job.world(entities=entities)
    job.go(comment=comment)
    assert len(job.fake.bodies(7)) == expected


def test_changes_only_still_tells_when_there_are_none_any_more(job: Job) -> None:
    """A comment that says there are changes must not stay when they are gone."""
    job.go(comment="changes-only")
    job.world(entities={"PX1": "Payments"})
    job.go(comment="changes-only")
    assert "**No changes.**" in job.fake.bodies(7)[0]


def test_a_fork_is_validated_without_any_request(job: Job) -> None:
    """No secrets: the catalog is checked, GitHub is not written to."""
    job.secrets.clear()
    done = job.go("pull_request fork")
    assert (done.code, done.outputs["mode"], job.fake.log) == (0, "validate", [])
    assert "fork" in done.text


def test_missing_secrets_are_explained_where_they_are_owed(job: Job) -> None:
    """In the repository's own pull request it is an error with the lines to add."""
    job.secrets.clear()
    done = job.go()
    assert (done.code, done.outputs["failure-reason"]) == (1, "usage")
    assert "port-client-id: ${{ secrets.PORT_CLIENT_ID }}" in done.log.annotations[0][2]


def test_pull_request_target_fails_with_an_explanation(job: Job) -> None:
    """Nothing is opened, nothing is read."""
    done = job.go("pull_request_target", operations=Failing(AssertionError("opened")))
    assert (done.code, "pull_request_target is refused" in done.text) == (1, True)


def test_wrong_inputs_end_the_run_step(job: Job) -> None:
    """There is nothing to report when not even the inputs can be read."""
    done = job.go(command="destroy")
    assert (done.code, "::error title=pdsync PD701::" in done.text) == (1, True)


def test_a_report_without_a_run_fails(tmp_path: Path) -> None:
    """A run step that died leaves nothing; the report must not end well."""
    out = io.StringIO()
    assert report_action({"PDSYNC_ACTION_FOLDER": str(tmp_path)}, out) == 1
    assert "the run step left no report" in out.getvalue()


def test_settings_reach_the_operations(job: Job) -> None:
    """What opens the operations is told catalog, environment, state and allowed deletes."""
    seen: list[Settings] = []

    def opened(settings: Settings, hide: Callable[[str], None]) -> Scripted:
        seen.append(settings)
        return Scripted(job.folder / CATALOG, job.port, hide)

    env = job._env("pull_request", {"environment": "eu", "state": "git:s", "allow_deletes": "a=1"})
    run_action(env, io.StringIO(), opened)
    assert [(s.environment, s.state, s.allow_deletes) for s in seen] == [("eu", "git:s", {"a": 1})]


def test_a_pull_request_has_something_to_tell_where_it_changes_something() -> None:
    """What would be done without it as well is no news of it, and a problem of its base does not fail it."""
    made = plan(change("update", "P1", before="silver"), withheld=1)
    problem = error("PD201", "jq error", detail="x")
    told = replace(made, diagnostics=(problem,))
    beside = with_branch(told, told, "main", "c0ffee")
    assert (told_something(told), told_something(beside), told_something(None)) == (True, False, False)
    assert (of_base(problem, told), of_base(problem, beside)) == (False, True)
    news = with_branch(told, made, "main", "c0ffee")
    assert (told_something(with_branch(told, plan(), "main", "c0ffee")), of_base(problem, news)) == (True, False)
    assert softer(problem).severity is Severity.WARNING
