"""The two steps of `action.yml` that think: `run` does the work, `report` tells GitHub and ends the job.

`run` never fails by what it finds: it writes outputs, job summary, annotations and a hand-over, so that the plan can be
uploaded and the comment written also when something is wrong.  `report` sends the comment and ends with the exit code.
A comment that cannot be written is a warning and an output, never a failure.
"""

from __future__ import annotations

import random
import time
import traceback
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson

from pdsync import __version__
from pdsync.errors import Diagnostic, PdsyncError, error, first, known, warning
from pdsync.github import log
from pdsync.github.api import GitHub
from pdsync.github.body import APPLIED, Page, Review, comment_body, review_line, summary_body
from pdsync.github.env_files import write_outputs, write_summary
from pdsync.github.events import Event, Mode, decide, parse_event
from pdsync.github.pulls import pull_of_push
from pdsync.github.record import comment_key
from pdsync.github.report import (
    INTERRUPTED,
    WITHHELD,
    Report,
    apply_exit,
    changed,
    drifted,
    hand_over,
    has_errors,
    of_base,
    reason_of,
    softer,
    take_over,
    told_something,
)
from pdsync.github.settings import Settings, read_settings, redact
from pdsync.github.sticky import Comment, Thread, find, post
from pdsync.plan.branch import parts as split
from pdsync.plan.verdict import CHANGES, plan_exit_code
from pdsync.render.plan_text import render_plan
from pdsync.render.result_text import render_result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from pdsync.github.events import Decision
    from pdsync.model import Ledger, Outcome, Plan

    OpenOperations = Callable[[Settings, Callable[[str], None]], "Operations"]
    """Gives the operations for these settings; the function passed along hides a derived secret in the log."""


class Applied(Protocol):
    """What became of an apply; `pdsync.apply.ApplyResult` is one."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each change."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger as it is now."""
        ...

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped before its end."""
        ...


class Operations(Protocol):
    """What the action needs of the rest of pdsync; all of them may raise `PdsyncError`."""

    def validate(self) -> tuple[Diagnostic, ...]:
        """Everything that is wrong with the catalog, offline."""
        ...

    def plan(self, base: str) -> Plan:
        """A fresh plan, beside that of the commit `base` if one is named; sends nothing but reads."""
        ...

    def overtaken(self, branch: str) -> str:
        """The commit of `branch` that was applied last, if that comes after what is checked out; else empty."""
        ...

    def apply(self, plan: Plan) -> Applied:
        """Do exactly this plan."""
        ...


@dataclass(frozen=True, slots=True)
class World:
    """Time and chance, so that tests can have their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    draw: Callable[[], str] = lambda: uuid.uuid4().hex


REAL = World()
PACKAGE = Path(__file__).parents[1]


def run_action(env: Mapping[str, str], out: TextIO, open_operations: OpenOperations, world: World = REAL) -> int:
    """`pdsync action run`: do what the event asks for and write down how it went.

    `env` is the step's environment, `out` the runner's log.  Returns 0, or 1 when not even the inputs could be read.
    """
    try:
        settings = read_settings(env)
    except PdsyncError as failure:
        _print(out, log.annotation_lines(failure.diagnostics, ""))
        return 1
    secrets = [*settings.secrets]
    for secret in secrets:
        _print(out, log.mask(secret))
    event = parse_event(settings.runner, _payload(settings))
    with _Quiet(out, world, secrets) as quiet:
        report, plan = _do(settings, event, lambda: open_operations(settings, quiet.hide), _moment(world))
    report = _cleaned(report, tuple(secrets))
    folder = str(Path(settings.runner.temp or ".") / f"pdsync-{world.draw()}")
    report = hand_over(folder, report, plan, lambda text: redact(text, tuple(secrets)))
    write_outputs(settings.runner.output, {**_outputs(report, plan), "folder": folder}, world.draw)
    _show(out, report, plan, settings, world)
    page = Page(report, plan, settings, event)
    write_summary(settings.runner.summary, redact(summary_body(page), tuple(secrets)))
    return 0


def report_action(env: Mapping[str, str], out: TextIO, world: World = REAL) -> int:
    """`pdsync action report`: write the comment for what `run` did, and end with the step's exit code.

    `PDSYNC_ACTION_FOLDER` names the hand-over, `PDSYNC_ACTION_ARTIFACT_URL` the uploaded plan, if any.
    """
    try:
        settings = read_settings(env)
        report, plan = take_over(env.get("PDSYNC_ACTION_FOLDER", ""))
    except PdsyncError as failure:
        _print(out, log.annotation_lines(failure.diagnostics, ""))
        return 1
    event = parse_event(settings.runner, _payload(settings))
    page = Page(report, plan, settings, event, artifact_url=env.get("PDSYNC_ACTION_ARTIFACT_URL", ""))
    outputs = _tell(page, out, world)
    write_outputs(settings.runner.output, outputs, world.draw)
    return (report.exit_code or 1) if report.fails else 0


class _Quiet:
    """While the work is done, commands in the log are switched off: progress and warnings name entities."""

    def __init__(self, out: TextIO, world: World, secrets: list[str]) -> None:
        self._out, self._world, self._secrets = out, world, secrets
        self._token = ""

    def __enter__(self) -> Self:
        self._token = self._world.draw()
        _print(self._out, [f"::stop-commands::{self._token}"])
        return self

    def __exit__(self, *_: object) -> None:
        _print(self._out, [f"::{self._token}::"])

    def hide(self, value: str) -> None:
        """Mask a secret that was made on the way; only for that are commands on again."""
        self._secrets.append(value)
        self.__exit__()
        _print(self._out, log.mask(value))
        self.__enter__()


# --- run ---------------------------------------------------------------------------------------------------------


def _do(
    settings: Settings, event: Event, open_operations: Callable[[], Operations], at: str
) -> tuple[Report, Plan | None]:
    blank = Report(mode=Mode.NOTHING, why="", at=at)
    try:
        decision = decide(event, settings.command, settings.credentials.missing)
    except PdsyncError as failure:
        return _failed(blank, failure), None
    report = replace(blank, mode=decision.mode, why=decision.why, comment_on=decision.comment_on)
    if decision.mode is Mode.NOTHING:
        return report, None
    return _attempt(lambda: _work(report, decision, settings, open_operations()), report, None)


def _attempt(
    work: Callable[[], tuple[Report, Plan | None]], report: Report, plan: Plan | None
) -> tuple[Report, Plan | None]:
    """Every way to fail becomes a report: people see what happened and no traceback."""
    try:
        return work()
    except KeyboardInterrupt:
        return replace(report, exit_code=INTERRUPTED, fails=True, reason="cancelled"), plan
    except Exception as problem:  # noqa: BLE001 - the last line of defence; it is told, not swallowed
        if ours := tuple(known(problem)):
            return _failed(report, *ours), plan
        found = (*report.diagnostics, _defect(first(problem)))
        return replace(report, exit_code=1, fails=True, reason="defect", diagnostics=found), plan


def _work(report: Report, decision: Decision, settings: Settings, operations: Operations) -> tuple[Report, Plan | None]:
    found = operations.validate()
    report = replace(report, diagnostics=found)
    if has_errors(found):
        return replace(report, exit_code=1, fails=True, reason="catalog-invalid"), None
    if decision.mode is Mode.VALIDATE:
        return report, None
    plan = operations.plan(decision.base)
    report = replace(report, diagnostics=tuple(dict.fromkeys((*found, *plan.diagnostics))), serial=plan.base.serial)
    if decision.mode is Mode.APPLY:
        # Looked at after the plan: what was saved meanwhile makes that stale.
        newer = operations.overtaken(decision.branch) if decision.branch else ""
        return (_overtaken(report, newer), None) if newer else _apply(report, plan, settings, operations)
    # What the base has as well is told, but it is not what this pull request is judged by.
    own = split(plan)[0] if plan.branch else plan
    judged = _judged(replace(report, exit_code=plan_exit_code(own, detailed=True)), settings)
    return replace(judged, exit_code=plan_exit_code(plan, detailed=True)), plan


def _overtaken(report: Report, newer: str) -> Report:
    """A push that a later one has overtaken, as when an old run is run again: applying it would undo that."""
    told = warning(
        "PD721",
        "nothing was applied: a later commit has been applied already",
        detail=f"{newer[:10]} comes after this commit",
        hint="To go back, revert the commits in git, or run the action with command: apply on workflow_dispatch.",
    )
    why = "a later commit has been applied already"
    return replace(report, mode=Mode.NOTHING, why=why, diagnostics=(*report.diagnostics, told))


def _apply(report: Report, plan: Plan, settings: Settings, operations: Operations) -> tuple[Report, Plan | None]:

    def apply() -> tuple[Report, Plan]:
        applied = operations.apply(plan)
        exit_code = apply_exit(plan, applied.outcomes, interrupted=applied.interrupted)
        done = replace(report, outcomes=applied.outcomes, serial=applied.ledger.serial, exit_code=exit_code)
        return _judged(done, settings), plan

    return _attempt(apply, report, plan)


def _judged(report: Report, settings: Settings) -> Report:
    """Whether an outcome fails the step: changes only on request, withheld deletes as told, all else always."""
    applying = report.mode is Mode.APPLY
    withheld = settings.fail_on_withheld == "always" or (settings.fail_on_withheld == "apply" and applying)
    rules = {
        0: (False, ""),
        CHANGES: (settings.fail_on_changes, "changes"),
        WITHHELD: (withheld or (settings.fail_on_changes and not applying), "guard"),
        INTERRUPTED: (True, "cancelled"),
        1: (True, "mapping"),
        7: (True, "source-incomplete"),
    }
    fails, reason = rules.get(report.exit_code, (True, "apply-failed"))
    return replace(report, fails=fails, reason=reason if fails else "")


def _failed(report: Report, *failures: PdsyncError) -> Report:
    """The worst of the failures says how the step ends, as on the command line; all are told."""
    worst = max(failures, key=lambda failure: failure.exit_code)
    told = (found for failure in failures for found in failure.diagnostics)
    diagnostics = tuple(dict.fromkeys((*report.diagnostics, *told)))
    return replace(report, exit_code=worst.exit_code, fails=True, reason=reason_of(worst), diagnostics=diagnostics)


def _defect(defect: BaseException) -> Diagnostic:
    """A defect of ours by type and place in our code; its message may hold what must not be shown."""
    places = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in traceback.extract_tb(defect.__traceback__)
        if Path(frame.filename).is_relative_to(PACKAGE)
    ]
    return error(
        "PD799",
        "pdsync has a defect",
        detail=f"{type(defect).__name__} at {places[-1]}, version {__version__}",
        hint="Please report it with this line. Nothing that was recorded is lost.",
    )


def _outputs(report: Report, plan: Plan | None) -> dict[str, str]:
    count = plan.summary if plan else None
    done = sum(outcome.status == "done" for outcome in report.outcomes or ())
    return {
        "mode": report.mode,
        "exitcode": str(report.exit_code),
        "failure-reason": report.reason,
        "changes": str(changed(plan)).lower(),
        "drift": str(drifted(plan)).lower(),
        "to-create": str(count.create if count else 0),
        "to-update": str(count.update if count else 0),
        "to-delete": str(count.delete if count else 0),
        "withheld": str(count.withheld if count else 0),
        "held": str(count.held if count else 0),
        "applied": str(done),
        "plan-digest": plan.fingerprint if plan else "",
        "plan-file": report.plan_file,
    }


def _show(out: TextIO, report: Report, plan: Plan | None, settings: Settings, world: World) -> None:
    """The log: what was decided, the plan for people with commands switched off, then the annotations."""
    told = [f"pdsync {report.mode}: {report.why}" if report.why else f"pdsync {report.mode}"]
    told += [render_plan(plan)] if plan else []
    told += [render_result(plan, report.outcomes, serial=report.serial)] if plan and report.outcomes else []
    _print(out, log.guarded("\n".join(told), world.draw()))
    softened = [softer(found) if of_base(found, plan) else found for found in report.diagnostics]
    _print(out, log.annotation_lines(softened, settings.catalog_path.rpartition("/")[0]))


def _cleaned(report: Report, secrets: tuple[str, ...]) -> Report:
    """The report with every secret taken out of what people wrote into it, and of what APIs answered."""
    diagnostics = tuple(
        replace(d, detail=redact(d.detail, secrets), summary=redact(d.summary, secrets), hint=redact(d.hint, secrets))
        for d in report.diagnostics
    )
    outcomes = report.outcomes and tuple(replace(o, message=redact(o.message, secrets)) for o in report.outcomes)
    return replace(report, diagnostics=diagnostics, outcomes=outcomes)


# --- report ------------------------------------------------------------------------------------------------------


def _tell(page: Page, out: TextIO, world: World) -> dict[str, str]:
    """Write the comment if there is one to write; the outputs about it."""
    settings, runner = page.settings, page.settings.runner
    applying = page.report.mode is Mode.APPLY
    if settings.comment == "never" or not (settings.token and runner.repository):
        return {}
    if page.report.comment_on is None and not applying:
        return {}
    try:
        with _client(settings, world) as github:
            return _told(github, page, out)
    except Exception as problem:  # noqa: BLE001 - no comment is worth a failed job; it is told, not swallowed
        told = [found for each in known(problem) for found in each.diagnostics] or [_defect(problem)]
        _print(out, log.annotation_lines([softer(found) for found in told], ""))
        return {"comment-failed": "true"}


def _told(github: GitHub, page: Page, out: TextIO) -> dict[str, str]:
    settings, event = page.settings, page.event
    number = page.report.comment_on or pull_of_push(github, event.sha, event.default_branch, event.message)
    if number is None:
        _print(out, log.guarded("No pull request belongs to this push.", uuid.uuid4().hex))
        return {}
    key = comment_key(settings.environment, settings.catalog_path, settings.port_base_url)
    thread = Thread(number, key, settings.token)
    old = find(github, thread)
    page = replace(page, review=Review(number, old.record if old else None))
    if review_line(page):
        write_summary(settings.runner.summary, review_line(page))
    outputs = {"pr-number": str(number)}
    if not _worth_telling(page, old):
        return outputs
    comment = post(github, thread, redact(comment_body(page, key), settings.secrets), old)
    return {**outputs, "comment-id": str(comment.id), "comment-url": comment.url}


def _worth_telling(page: Page, old: Comment | None) -> bool:
    """Whether the comment should be written: an old one always, unless it says more than we could now.

    What was applied stays said, also where a plan from before the merge is made again, or another apply fails.
    """
    report, plan = page.report, page.plan
    if old is not None:
        status = old.record.status if old.record else ""
        return bool(report.outcomes) or status not in ({"applied"} if report.outcomes == () else APPLIED)
    news = report.fails or told_something(plan)
    return news or page.settings.comment == "always"


def _client(settings: Settings, world: World) -> GitHub:
    return GitHub(
        settings.runner.api_url,
        settings.runner.repository,
        settings.token,
        sleep=world.sleep,
        now=lambda: world.now().timestamp(),
        jitter=world.jitter,
        user_agent=f"pdsync/{__version__}",
    )


# --- both --------------------------------------------------------------------------------------------------------


def _payload(settings: Settings) -> dict[str, Any]:
    """The event's payload; empty when the runner has lost the file, as some self-hosted ones do."""
    try:
        payload = orjson.loads(Path(settings.runner.event_path).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _moment(world: World) -> str:
    return world.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(out: TextIO, lines: Sequence[str]) -> None:
    out.writelines(f"{line}\n" for line in lines)
    out.flush()
