"""Decide: desired, existing and applied in, a plan out.

The decision table, for entities and for blueprints alike.  *desired* is what the mapping (or the blueprint file)
says, *existing* what Port holds, *applied* what the ledger says we last wrote; only mapped fields count, and both
sides are in normal form:

    | desired | existing   | applied      | action                                                          |
    |---------|------------|--------------|-----------------------------------------------------------------|
    | yes     | no         | no           | create   (new)                                                  |
    | yes     | no         | yes          | create   (gone-from-port: a drift)                              |
    | yes     | = desired  | not equal    | adopt    (equal when not ours before, else caught-up)           |
    | yes     | = desired  | = desired    | nothing                                                         |
    | yes     | != desired | yes          | update   (changed); a field that differs from applied is drift  |
    | yes     | != desired | no           | update   (taken-over), unless the policy says `adopt: refuse`   |
    | no      | yes        | yes, created | delete   (gone-from-source, left-window, unmapped), guarded     |
    | no      | yes        | yes, adopted | release  (same reasons): clear what we added, never delete it   |
    | no      | no         | yes          | forget   (gone-from-port)                                       |
    | no      | yes        | no           | nothing: not ours                                               |

Whether what counts as gone is so is told later, by what was read (`pdsync.plan.absence`).

What Port's own PagerDuty integration had made from the same records counts as created (`pdsync.plan.ownership`).

The word in brackets is the change's `reason`.  Special cases are data: a field whose value could not be found out is
not spoken of, a stub that `createMissingRelatedEntities` asks for is a desired entity without fields, a mapping that
replaces whole entities speaks of every property.

What an entity had before it was ours is never cleared for being named no more (`pdsync.plan.parts`).

Any other field that leaves the mapping is cleared: when the rules that wrote the entity still write it but not this
field, or when no rule of the catalog writes the field any more.  A record that moved on to another rule (an incident
that was resolved) keeps what the first one wrote, as Port's own integration does.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from pdsync.model import Plan, Summary, renames_of
from pdsync.plan.blast import blast_radius
from pdsync.plan.blueprints import blueprints_that_stay, plan_blueprints
from pdsync.plan.carrying import between, with_carried
from pdsync.plan.checks import check_upserts
from pdsync.plan.decide import Facts, Scope, constant_blueprint
from pdsync.plan.entities import EntityDecisions, with_stubs
from pdsync.plan.guards import Removals, Situation, guard_removals
from pdsync.plan.idle import idle_options
from pdsync.plan.kept import kept_fields
from pdsync.plan.migrate import allowing, unfilled_by
from pdsync.plan.order import in_order
from pdsync.plan.portions import with_missing
from pdsync.plan.readers import clearing
from pdsync.plan.released import with_released
from pdsync.plan.rename import FOLLOWS, Decided, splits, standing_in, unlinked, with_renames
from pdsync.plan.saved import with_seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.errors import Diagnostic
    from pdsync.model import Blueprint, Change, EntityKey, PlanBase
    from pdsync.plan.blueprints import BlueprintPlan
    from pdsync.plan.checks import Checked
    from pdsync.plan.migrate import Unfilled

__all__ = ["Facts", "Scope", "fingerprint", "make_plan", "summary_of"]


def make_plan(facts: Facts, base: PlanBase, scope: Scope | None = None) -> Plan:
    """The changes that make Port what the catalog and PagerDuty say it should be, in the order of doing."""
    scope = scope or Scope()
    used = {key.blueprint for key in facts.desired.entities if scope.covers_key(key)}
    staying: frozenset[str] = frozenset()
    unfilled = _unfilled_if_allowed(facts, base, scope, used)
    while True:
        schema = plan_blueprints(facts, scope, used, staying, unfilled)
        plan = _planned(schema, facts, base, scope)
        kept = schema.counted_on.intersection(item.blueprint for item in plan.withheld if item.target == "blueprint")
        missed = unfilled_by(plan.changes, facts, schema.migrations) - unfilled
        if not kept and not missed:
            return plan
        staying |= kept
        unfilled |= missed


def _unfilled_if_allowed(facts: Facts, base: PlanBase, scope: Scope, used: AbstractSet[str]) -> Unfilled:
    """What would not be written were everything let through that guards stop: it counts among what would be lost."""
    stopped = allowing(plan_blueprints(facts, scope, used).guards)
    if not stopped:
        return frozenset()
    allowed = replace(scope, allow_breaking={**scope.allow_breaking, **stopped})
    schema = plan_blueprints(facts, allowed, used)
    return unfilled_by(_planned(schema, facts, base, scope).changes, facts, schema.migrations)


def _planned(schema: BlueprintPlan, facts: Facts, base: PlanBase, scope: Scope) -> Plan:
    """The plan that goes with what happens to blueprints."""
    blueprints = schema.after
    before, facts = facts, with_missing(between(facts, schema.migrations))
    unproven = _unproven(facts, blueprints)
    desired, dangling = with_stubs(facts, blueprints, unproven, scope)
    decisions = EntityDecisions(facts, blueprints, desired, scope)
    upserts, held, unchanged = decisions.upserts()
    upserts, carried = with_carried(upserts, before, schema.migrations, blueprints, desired)
    removed, left = decisions.removals()
    beyond = {key for key in desired if not scope.covers_key(key)} if scope.limited else frozenset()
    standing = standing_in(decisions.successors, facts.existing.entities)
    checked = check_upserts(filter(scope.covers, upserts), facts, blueprints, beyond, standing)
    decided = Decided(checked.changes, tuple(removed), (*held, *left, *checked.held))
    needed = desired.keys() - facts.desired.entities.keys()
    situation = Situation(facts, scope, unproven, {}, needed, blueprints)
    decided, removals = _guarded(decided, decisions, situation)
    upserts = unlinked(decided.upserts, removals.allowed)
    drafts, staying = blueprints_that_stay(schema.changes, removals.allowed, blueprints, facts, scope)
    changes = in_order([*drafts, *upserts, *removals.allowed], blueprints, facts.existing.entities, standing)
    changes = with_seen(with_released(changes, decisions), before.existing)
    withheld = (*removals.withheld, *staying)
    foreign = facts.existing.entities.keys() - desired.keys() - facts.ledger.entities.keys()
    ignored = decisions.left_alone.ignored()
    return Plan(
        base=replace(base, scope=scope.told),
        changes=changes,
        withheld=withheld,
        held=tuple(sorted(decided.held, key=lambda h: h.key)),
        guards=(*removals.guards, *schema.guards),
        summary=summary_of(
            changes,
            unchanged=unchanged + checked.unchanged - sum(map(scope.covers_key, carried)),
            withheld=len(withheld),
            held=len(decided.held),
            foreign=sum(map(scope.covers_key, foreign)),
            retained=decisions.retained,
            ignored=sum(item.count for item in ignored),
        ),
        # What a limited plan leaves out still waits for its new expression.
        expressions=facts.ledger.expressions if scope.limited else facts.expressions,
        fingerprint=fingerprint(changes),
        diagnostics=(*_known_before(facts), *dangling, *_found(facts, decisions, checked, scope)),
        ignored=ignored,
        blast=blast_radius(changes, withheld, facts, blueprints),
        unavailable=facts.lacking,
        kept=kept_fields(facts, {item.key for item in decided.held}, decisions.successors, scope),
        clearing=clearing(changes, before.existing.blueprints),
    )


def _known_before(facts: Facts) -> tuple[Diagnostic, ...]:
    """What was found before there was a plan."""
    return (*facts.catalog.diagnostics, *facts.desired.diagnostics, *facts.around.diagnostics)


def _found(facts: Facts, decisions: EntityDecisions, checked: Checked, scope: Scope) -> tuple[Diagnostic, ...]:
    """What was found while deciding."""
    told = (*decisions.not_left_alone(), *splits(facts, scope.covers_key), *checked.diagnostics)
    return (*told, *idle_options(facts, scope))


def _guarded(decided: Decided, decisions: EntityDecisions, situation: Situation) -> tuple[Decided, Removals]:
    """The decisions with renames made, and the removals that may happen.

    What is withheld stays, and so follows what it points at to its new identifier; by that, less may be withheld.
    """
    staying: frozenset[EntityKey] = frozenset()
    while True:
        renamed = with_renames(
            decided, decisions.successors, situation.facts, situation.blueprints, decisions, staying=staying
        )
        updates = {change.key: change for change in renamed.upserts if change.action == "update"}
        removals = guard_removals(renamed.removals, replace(situation, updates=updates))
        stays = staying.union(change.key for change in removals.withheld)
        if stays == staying or not decisions.successors:
            break
        staying = stays
    going = {change.key for change in removals.allowed if change.action == "delete"}
    upserts = [change for change in renamed.upserts if change.reason != FOLLOWS or change.key not in going]
    return replace(renamed, upserts=upserts), removals


def fingerprint(changes: Iterable[Change]) -> str:
    """A digest of the work itself: equal for equal changes, whatever their order, cause or wording."""
    # The digest of each, not its text: a first plan has a change for every entity there is.
    items = sorted(hashlib.blake2b(_work(change), digest_size=16).digest() for change in changes)
    return hashlib.blake2b(b"".join(items), digest_size=16).hexdigest()


def _work(change: Change) -> bytes:
    what = change.target, change.action, change.blueprint, change.identifier
    told = [*what, [*change.afters()], *filter(None, [change.twin, change.meanwhile])]
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def _unproven(facts: Facts, blueprints: Mapping[str, Blueprint]) -> dict[str, str]:
    """Blueprint -> why no absence in it is proven: a rule that writes it reads an incomplete collection.

    A rule whose blueprint is computed may write any of them.
    """
    unproven: dict[str, str] = {}
    for rule in facts.catalog.rules:
        if reason := facts.unproven.get(rule.id):
            constant = constant_blueprint(rule)
            for blueprint in [constant] if constant else sorted(blueprints):
                unproven.setdefault(blueprint, reason)
    return unproven


def summary_of(changes: Sequence[Change], **others: int) -> Summary:
    """The changes in numbers; `others` are the other counts of a summary."""
    counts = dict.fromkeys(("create", "update", "delete", "adopt", "forget", "release"), 0)
    for change in changes:
        counts[change.action] += 1
    renames = len(renames_of(changes))
    counts["create"] -= renames
    counts["delete"] -= renames
    return Summary(**counts, rename=renames, **others)
