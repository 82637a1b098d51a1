"""The text of the comment and of the job summary.

The plan itself is rendered by `pdsync.render.markdown`; here are the line above it (what has happened) and the line
below it (when, which commit, which run).  Data stands in code only.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from pdsync import __version__
from pdsync.errors import Diagnostic, Severity
from pdsync.github.events import Event, Mode
from pdsync.github.record import Record, marker
from pdsync.github.report import PARTLY, Report, of_base
from pdsync.github.settings import Settings, is_web_url
from pdsync.github.text import clip, fit, utf16_units
from pdsync.model import Plan
from pdsync.render.escape import visible
from pdsync.render.markdown import code, render_plan_markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pdsync.model import Outcome

COMMENT_UNITS = 64_000
"""UTF-16 units of a comment; GitHub refuses 65,536 and does not say of what."""

COMMENT_BYTES = 250_000
SUMMARY_BYTES = 1_000_000
"""Bytes of one step's summary; over 1 MiB the runner drops it whole."""

PROBLEMS_SHOWN = 20
FAILURES_SHOWN = 20
LONGEST_VALUE = 160
"""With these three limits what stands around the plan always leaves more than half of a comment to it."""

APPLIED = frozenset({"applied", "partly-applied"})
"""What the status of a record says of a pull request that something was applied of."""

REFUSED_BEFORE_WRITING = frozenset({"plan-changed", "state-locked", "guard"})
SIGNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


@dataclass(frozen=True, slots=True)
class Review:
    """The comment's record against what was applied: which pull request, and the record if one was found."""

    number: int
    record: Record | None


@dataclass(frozen=True, slots=True)
class Page:
    """One text to be written: a report with its plan, and what is known around them."""

    report: Report
    plan: Plan | None
    settings: Settings
    event: Event
    review: Review | None = None
    artifact_url: str = ""


def comment_body(page: Page, key: str) -> str:
    """The whole comment: marker, status, plan within the budget that is left, closing line."""
    above = f"{marker(key, record_of(page))}\n{_above(page)}"
    return _around(page, above, units=COMMENT_UNITS, size=COMMENT_BYTES)


def summary_body(page: Page) -> str:
    """The job summary: the same without the marker and with the summary's budget."""
    return _around(page, _above(page), units=SUMMARY_BYTES, size=SUMMARY_BYTES)


def _around(page: Page, above: str, *, units: int, size: int) -> str:
    """What stands above and below the plan, and between them as much of the plan as fits."""
    below = _closing(page)
    taken = f"{above}\n\n\n\n{below}\n"
    render = partial(_told, page, page.plan) if page.plan else (lambda _: "")
    shown = fit(render, units=units - utf16_units(taken), size=size - len(taken.encode()))
    shown = shown or ("The plan is too long to be shown here, see the job summary." if page.plan else "")
    return "\n\n".join(filter(None, [above, shown, below])) + "\n"


def review_line(page: Page) -> str:
    """One sentence: is what was applied what was reviewed?  Empty when nothing was applied or asked."""
    plan, review = page.plan, page.review
    if plan is None or review is None or page.report.mode is not Mode.APPLY:
        return ""
    of = f"pull request #{review.number}"
    record = review.record
    if record is not None and record.status in APPLIED:
        return f"An earlier run has already applied on {of}; this is what was left."
    if record is None or not record.fingerprint:
        return f"No reviewed plan was found on {of}."
    if record.fingerprint == plan.fingerprint:
        return f"This is exactly the plan that was reviewed on {of} at {code(record.head_sha[:10])}."
    then, now = _counted(record.counts), _counted(counts_of(plan))
    seen = f"{of} at {code(record.head_sha[:10])}"
    return f"**This differs from the plan that was reviewed** on {seen}: then {then}, now {now}."


def record_of(page: Page) -> Record:
    """What the comment is to remember of this run; of an apply that did not come to writing, what was reviewed."""
    report, plan, settings, event = page.report, page.plan, page.settings, page.event
    if report.mode is Mode.APPLY and report.outcomes is None and page.review and page.review.record:
        return page.review.record
    record = Record(
        status=_status(report),
        environment=clip(settings.environment, LONGEST_VALUE),
        catalog_path=clip(settings.catalog_path, LONGEST_VALUE),
        tool=__version__,
        repository_id=event.repository_id,
        pull_request=page.review.number if page.review else (report.comment_on or 0),
        head_sha=event.head_sha,
        merge_sha=event.sha,
        base_sha=event.base_sha,
        created_at=report.at,
        run_id=settings.runner.run_id,
        run_attempt=settings.runner.run_attempt,
    )
    return _bound(record, plan) if plan else record


def counts_of(plan: Plan) -> dict[str, int]:
    """The plan's counts that are not zero."""
    count = plan.summary
    names = ("create", "update", "delete", "adopt", "forget", "release", "rename", "withheld", "held")
    return {name: number for name in names if (number := getattr(count, name))}


def _bound(record: Record, plan: Plan) -> Record:
    base = plan.base
    return replace(
        record,
        target=clip(base.target, LONGEST_VALUE),
        source=clip(base.source, LONGEST_VALUE),
        org_id=clip(base.org_id, LONGEST_VALUE),
        catalog=clip(base.catalog, LONGEST_VALUE),
        lineage=clip(base.lineage, LONGEST_VALUE),
        serial=base.serial,
        snapshot=clip(base.snapshot, LONGEST_VALUE),
        fingerprint=plan.fingerprint,
        counts=counts_of(plan),
    )


def _status(report: Report) -> str:
    if report.mode is Mode.APPLY and report.outcomes is not None:
        whole = all(outcome.status == "done" for outcome in report.outcomes)
        return "applied" if whole else "partly-applied"
    return "failed" if report.fails else "planned"


def title_of(page: Page) -> str:
    """The heading: our words and the environment's name, reduced to what cannot be Markdown."""
    done = {Mode.APPLY: "apply", Mode.DRIFT: "drift", Mode.CHECK: "check"}.get(page.report.mode, "plan")
    done = "applied" if page.report.outcomes is not None else done
    environment = re.sub(r"[^A-Za-z0-9 .-]", "", page.settings.environment)
    return f"pdsync {done}" + (f" for {clip(environment, 60)}" if environment else "")


def _told(page: Page, plan: Plan, budget: int) -> str:
    """The plan without its heading, which stands above the status."""
    title = title_of(page)
    return render_plan_markdown(plan, budget=budget, title=title).removeprefix(f"### {title}\n").strip()


def _above(page: Page) -> str:
    heading = f"### {title_of(page)}"
    parts = [
        heading,
        _verdict(page),
        review_line(page),
        _failures(page.report, page.plan),
        _problems(page.report.diagnostics, page.plan),
    ]
    return "\n\n".join(filter(None, parts))


def _verdict(page: Page) -> str:
    report, plan = page.report, page.plan
    at = code(page.event.head_sha[:10])
    if report.outcomes is not None:
        return _applied(report.outcomes, report, at)
    if plan is None:
        if report.fails:
            return f"**Nothing was planned** for {at}."
        done = "Nothing was done for" if report.mode is Mode.NOTHING else "The catalog is valid at"
        return f"{done} {at} ({code(report.why)})."
    if report.mode is Mode.APPLY:
        return _not_applied(report, at)
    if report.mode is Mode.PLAN and report.comment_on and plan.changes:
        all_of = "all of it" if plan.branch else "it"
        return f"Plan for {at}. Merging this pull request applies {all_of}."
    return f"Plan for {at}."


def _not_applied(report: Report, at: str) -> str:
    if report.reason in REFUSED_BEFORE_WRITING:
        return f"**Nothing was applied** from {at}."
    return f"**The apply from {at} was broken off.** What was done is in the state; run this job again to go on."


def _applied(outcomes: Sequence[Outcome], report: Report, at: str) -> str:
    count = Counter(outcome.status for outcome in outcomes)
    if not outcomes:
        return f"**Nothing to apply** from {at}: Port is as the catalog says."
    told = ", ".join(
        f"{count[status]} {status}" for status in ("done", "failed", "skipped", "unknown") if count[status]
    )
    verdict = "Applied" if count["done"] == len(outcomes) else "Applied partly"
    again = " Run this job again to go on where it stopped." if report.exit_code == PARTLY else ""
    return f"**{verdict}** from {at}: {told}. State {report.serial}.{again}"


def _failures(report: Report, plan: Plan | None) -> str:
    failed = [outcome for outcome in report.outcomes or () if outcome.status != "done"]
    if not failed or plan is None:
        return ""
    changes = {change.n: change for change in plan.changes}
    lines = [
        f"- {outcome.status}: {_value(str(changes[outcome.n].key))} {_value(outcome.message)}"
        for outcome in failed[:FAILURES_SHOWN]
        if outcome.n in changes
    ]
    return "\n".join([*lines, *_more(len(failed) - FAILURES_SHOWN)])


def _problems(diagnostics: tuple[Diagnostic, ...], plan: Plan | None) -> str:
    """The worst first; after all others those that the base of the pull request has as well."""
    known = {id(diagnostic) for diagnostic in diagnostics if of_base(diagnostic, plan)}
    order = list(SIGNS)
    ranked = sorted(diagnostics, key=lambda diagnostic: (id(diagnostic) in known, order.index(diagnostic.severity)))
    lines = [
        _problem(diagnostic) + (" (the base has it as well)" if id(diagnostic) in known else "")
        for diagnostic in ranked[:PROBLEMS_SHOWN]
    ]
    return "\n".join([*lines, *_more(len(ranked) - PROBLEMS_SHOWN)])


def _problem(diagnostic: Diagnostic) -> str:
    place = f" {_value(str(diagnostic.origin))}" if diagnostic.origin else ""
    said = ": ".join(filter(None, [diagnostic.summary, diagnostic.detail]))
    return f"- **{SIGNS[diagnostic.severity]}**{place} {_value(said)}"


def _more(rest: int) -> list[str]:
    return [f"- and {rest} more, see the log"] if rest > 0 else []


def _value(text: str) -> str:
    return code(clip(visible(text), LONGEST_VALUE)) if text else ""


def _counted(counts: dict[str, int]) -> str:
    words = ("create", "update", "delete")
    return ", ".join(f"{counts.get(word, 0)} to {word}" for word in words)


def _closing(page: Page) -> str:
    runner = page.settings.runner
    parts = [page.report.at, f"pdsync {__version__}"]
    parts += [f'<a href="{runner.run_url}">run</a>'] if is_web_url(runner.run_url) else []
    parts += [f'<a href="{page.artifact_url}">plan file</a>'] if is_web_url(page.artifact_url) else []
    return f"<sub>{' · '.join(parts)}</sub>"
