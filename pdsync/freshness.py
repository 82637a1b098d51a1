"""Whether all that a saved plan stands on is as it was when it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.errors import StalePlan, error
from pdsync.plan import Scope
from pdsync.plan.saved import moved, paths_to_read
from pdsync.plan.wording import moved_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from pdsync.errors import Diagnostic
    from pdsync.model import Catalog, Existing, Ledger, Plan, PlanBase
    from pdsync.state.store import StateStore
    from pdsync.targets import TargetReader

    Progress = Callable[[str, int, int | None], None]

_NAMED = 5
_NEW_SNAPSHOT = "PagerDuty: another snapshot has been taken since"


async def check_fresh(
    plan: Plan, reader: TargetReader, store: StateStore, catalog: Catalog, progress: Progress | None = None
) -> None:
    """See that all that a saved plan stands on is as it was: catalog, state, snapshot, organisation, each entity.

    A revert stands on neither catalog nor snapshot.

    Raises `StalePlan` naming everything that has moved; writes nothing.
    """
    ledger = store.load()
    existing = await reader.read(paths_to_read(plan), progress)
    base, digest = plan.base, store.last_digest()
    if base.org_id != existing.org_id:
        raise StalePlan(_of_another_organisation(base, existing))
    mapped = not Scope.read(base.scope).reverts
    state = (ledger.serial, ledger.lineage)
    made_from = _version(base.commit, base.catalog)
    found = [
        mapped and base.catalog != catalog.tree and f"catalog: {made_from} -> {_catalog_version(catalog)}",
        (base.serial, base.lineage) != state and _of_other_state(base, ledger),
        mapped and "" not in (base.snapshot, digest) and base.snapshot != digest and _NEW_SNAPSHOT,
        _moved_entities(plan, existing),
    ]
    hint = "`pdsync plan --rebase PLAN` says what that changes; nothing was written"
    problems = [error("PD520", "this plan is no longer exact", detail=told, hint=hint) for told in found if told]
    if problems:
        raise StalePlan(*problems)


def _of_another_organisation(base: PlanBase, existing: Existing) -> Diagnostic:
    """Nothing else of the plan says anything there."""
    made_for, here = (f"{of.org_name} ({of.org_id})" for of in (base, existing))
    hint = "use the credentials of the organisation that it was made for; nothing was written"
    return error("PD520", "this plan is of another organisation", detail=f"made for {made_for}, not {here}", hint=hint)


def _catalog_version(catalog: Catalog) -> str:
    return _version(catalog.commit or "", catalog.tree) + (" with uncommitted changes" if catalog.dirty else "")


def _version(commit: str, tree: str) -> str:
    return f"commit {commit[:10]}" if commit else f"files {tree[:10]}"


def _of_other_state(base: PlanBase, ledger: Ledger) -> str:
    """How far the state has moved; of what is another state altogether, that it is."""
    now = f"serial {ledger.serial}" if ledger.lineage else "none"
    if base.lineage == ledger.lineage or not base.lineage:
        return f"state: {f'serial {base.serial}' if base.lineage else 'none'} -> {now}"
    return f"state: serial {base.serial} -> {now}" + (
        f" of another lineage ({ledger.lineage})" if ledger.lineage else ""
    )


def _moved_entities(plan: Plan, existing: Existing) -> str:
    found = moved(plan, existing)
    named = [f"{name} ({moved_fields(of)})" if of else name for name, of in list(found.items())[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"Port: {len(found)} of {len(plan.changes)} changed since: {', '.join(named)}{more}" if found else ""
