"""Putting back what a run did: what has to be read for that, and what has to be said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pdsync.around import ask_around
from pdsync.errors import StateError, UsageError, error, warning
from pdsync.model import DesiredEntities, Existing, PlanBase
from pdsync.plan import Facts, Scope
from pdsync.plan.migrate import paths_at_stake
from pdsync.plan.revert import Undoing, make_revert, undone_by
from pdsync.resume import journal_elsewhere, no_such_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog, Change, EntityKey, ExistingEntity, Ledger, Plan, RunNote, RunRecord
    from pdsync.state.store import StateStore
    from pdsync.targets import TargetReader

    Progress = Callable[[str, int, int | None], None]

AT_ONCE = 1000
"""So many entities are looked at before it is said how far that is."""

_NAMED = 3
_NOTHING = Existing("", "", {}, {})


def find_done(store: StateStore, run: str) -> RunRecord:
    """The run to put back, whose every outcome is known; the store is loaded.

    Raises `UsageError` when there is none, or it did nothing, `StateError` when its journal is not here or when it has
    to be resumed before.
    """
    record = store.run(run)
    if record is None:
        raise journal_elsewhere(run) if any(n.run == run for n in store.history()) else no_such_run(run)
    if store.is_astray(record):
        raise _resume_first(run, "what it wrote is in its journal only")
    if unknown := _unknown(store, record):
        changes = "1 change" if len(unknown) == 1 else f"{len(unknown)} changes"
        raise _resume_first(run, f"of {changes} it is not known whether they were done")
    if not undone_by(record, Scope()):
        detail = f"{run} did nothing of what it had set out to do"
        raise UsageError(error("PD535", "there is nothing to revert", detail=detail))
    return record


def _unknown(store: StateStore, record: RunRecord) -> set[int]:
    """The changes whose outcome neither the run nor one that went on with it knows."""
    known: set[int] = set()
    chain = {record.run}
    for note in store.history():
        if note.resumes in chain and (later := store.run(note.run)) is not None:
            chain.add(note.run)
            known |= {n for n, status in later.statuses.items() if status != "unknown"}
    return {n for n, status in record.statuses.items() if status == "unknown"} - known


def _resume_first(run: str, detail: str) -> StateError:
    hint = f"look that up first, and end what it left: pdsync resume {run}"
    return StateError(error("PD536", "this run has to be resumed before it can be reverted", detail=detail, hint=hint))


async def plan_revert(
    record: RunRecord,
    catalog: Catalog,
    reader: TargetReader,
    ledger: Ledger,
    *,
    target: str,
    scope: Scope | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The plan that puts back what a run did, on the ledger as it was loaded.  Raises `TargetError`, `StateError`."""
    scope = replace(scope or Scope(), reverts=record.run)
    facts = await _facts(record, Facts(catalog, DesiredEntities({}), _NOTHING, ledger), reader, scope, progress)
    base = PlanBase(
        lineage=ledger.lineage,
        serial=ledger.serial,
        catalog=ledger.catalog,
        commit=ledger.commit,
        snapshot=ledger.snapshot,
        taken_at="",
        org_id=facts.existing.org_id,
        org_name=facts.existing.org_name,
        source="",
        target=target,
        tool=ledger.tool,
    )
    plan = make_revert(record, facts, base, scope)
    return _as_before(replace(plan, diagnostics=(*plan.diagnostics, *_warnings(record, ledger, plan))), record, ledger)


async def _facts(
    record: RunRecord, facts: Facts, reader: TargetReader, scope: Scope, progress: Progress | None
) -> Facts:
    """The facts with what Port holds of all that the run touched, and of what a revert may take something from."""
    done, ledger = undone_by(record, scope), facts.ledger
    bare = await reader.read({}, progress)
    if ledger.org_id and ledger.org_id != bare.org_id:
        detail = f"the state belongs to organisation {ledger.org_id}, the credentials to {bare.org_id}"
        raise StateError(error("PD505", "state of another organisation", detail=detail))
    whole = await _whole(reader, [c.key for c in done if c.target == "entity"], progress)
    facts = replace(facts, existing=replace(bare, entities=whole))
    undoing = Undoing(record, facts, scope)
    drafts = undoing.drafts()
    wanted = paths_at_stake(drafts) | {c.blueprint: {"title"} for c in drafts if c.action == "delete"}
    read = (await reader.read(wanted, progress)).entities if wanted else {}
    known = await reader.known(undoing.targets() - whole.keys())
    going = sorted(change.key for change in done if change.action == "create" and change.key in whole)
    facts = replace(facts, existing=replace(bare, entities={**read, **whole}, known_targets=known))
    around = await ask_around(going, drafts, facts, reader, replace(bare, entities=read))
    return replace(facts, around=around)


async def _whole(
    reader: TargetReader, keys: Sequence[EntityKey], progress: Progress | None
) -> dict[EntityKey, ExistingEntity]:
    found: dict[EntityKey, ExistingEntity] = {}
    for start in range(0, len(keys), AT_ONCE):
        found |= await reader.whole(keys[start : start + AT_ONCE])
        if progress:
            progress("what the run touched", min(start + AT_ONCE, len(keys)), len(keys))
    return found


def _as_before(plan: Plan, record: RunRecord, ledger: Ledger) -> Plan:
    """The plan, after which the ledger stands for the catalog that it stood for before the run, if all is as then."""
    was = record.before
    whole = not (plan.guards or plan.held or plan.withheld or Scope.read(plan.base.scope).limited)
    if was is None or not whole or _later(record, ledger):
        return plan
    base = replace(plan.base, commit=was.commit, catalog=was.catalog, snapshot=was.snapshot, tool=was.tool)
    return replace(plan, base=base, expressions=was.expressions)


def _later(record: RunRecord, ledger: Ledger) -> list[RunNote]:
    """The runs after this one that did something and were not put back."""
    reverted = {note.reverts for note in ledger.runs if note.done == note.changes}
    after = [note for note in ledger.runs if note.run > record.run and note.done]
    return [note for note in after if not note.reverts and note.run not in reverted]


# --- what has to be said ----------------------------------------------------------------------------------------


def _warnings(record: RunRecord, ledger: Ledger, plan: Plan) -> list[Diagnostic]:
    found = [_again(record)] if plan.changes else []
    later = _later(record, ledger)
    if later and (plan.guards or plan.held):
        runs = ", ".join(note.run for note in later[-_NAMED:])
        hint = "revert the newest first, one after the other"
        found.append(warning("PD641", "later runs have changed the same", detail=f"since then: {runs}", hint=hint))
    return [*found, *_not_told(record)]


def _not_told(record: RunRecord) -> list[Diagnostic]:
    """That some of what a run may have done is not put back, since its own journal does not say that it was done."""
    open_ = [c for c in record.plan.changes if _may_be_done(c, record)]
    if not open_:
        return []
    names = [c.blueprint if c.target == "blueprint" else str(c.key) for c in open_]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    hint = "revert the run that went on with it as well, if there is one, and look at them in Port"
    detail = f"{', '.join(names[:_NAMED])}{more}: not known to be done, or done in part"
    return [warning("PD642", "not all that this run may have done is put back", detail=detail, hint=hint)]


def _may_be_done(change: Change, record: RunRecord) -> bool:
    """What was settled by a later run only; and a blueprint is changed in several steps, of which one was refused."""
    status = record.statuses.get(change.n)
    in_steps = change.target == "blueprint" and change.action == "update"
    return status == "unknown" or (status == "failed" and in_steps)


def _again(record: RunRecord) -> Diagnostic:
    """That a revert of Port alone does not last, and what makes it last."""
    done = undone_by(record, Scope())
    causes = {cause for change in done for cause in (*change.causes, change.cause)}
    hints = []
    if "catalog" in causes:
        commits = _commits(record, done)
        command = f"git revert --no-edit {' '.join(commits)}" if commits else "git revert, or by hand"
        hints.append(f"put the catalog back as well: {command}")
    if "source" in causes:
        hints.append("what PagerDuty says stays so: what came from there comes again, unless it or its mapping changes")
    return warning(
        "PD640",
        "the next plan will want to do again what this puts back",
        detail=f"{record.run} did what catalog and PagerDuty say, and they still say it",
        hint="; ".join(hints),
    )


def _commits(record: RunRecord, changes: Collection[Change]) -> list[str]:
    """The commits behind the changes of the catalog, the newest first; else the one that was applied."""
    origins = {f.origin for change in changes for f in change.fields} | {change.origin for change in changes}
    found = {commit.id: commit for origin, commit in record.plan.commits.items() if origin in origins and commit.id}
    newest = sorted(found.values(), key=lambda commit: commit.at, reverse=True)
    return [c.id[:10] for c in newest] or [c[:10] for c in [record.plan.base.commit] if c]
