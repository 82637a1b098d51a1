"""Why each field changes, found out by mapping at the four corners.

Mapping is pure: what an entity shall be depends on the catalog and on its records, and on nothing else.  So what has
moved since the last apply is told by evaluating with one of them as it was then:

                      records then      records now
    catalog then      what was applied  by PagerDuty alone
    catalog now       by the catalog    what is planned

A field that is planned to be another one than was applied has the causes

    catalog    the catalog alone gives another value than both did then
    source     the records alone do
    both       neither alone does, but the two together
    tool       catalog and records of then do not give today what was applied: what evaluates them has changed

and, in any case, `drift` when Port does not hold what was applied.  One that was applied as it is planned is drift
alone.  For an entity that comes or goes the same is asked of its being there.

Where a corner cannot be evaluated the plan says why in `inexact`.  Without the catalog of then, changed expressions
count as `catalog` and all else as `source`; without the records of then, what the catalog of then makes of the records
of now is compared with what was applied and with what is planned, and a new tool cannot be told from PagerDuty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pdsync.leftalone import place_of
from pdsync.model import (
    Catalog,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    Expression,
    SearchQuery,
    makers,
    sources_of,
)
from pdsync.normal import same
from pdsync.plan.alone import LeftAlone
from pdsync.plan.blueprints import blueprints_after, plan_blueprints
from pdsync.plan.carrying import between
from pdsync.plan.checks import Ruler
from pdsync.plan.decide import CAUSES, Scope, all_causes, main_cause
from pdsync.plan.drift import spoke_of
from pdsync.plan.entities import EntityDecisions, with_stubs
from pdsync.plan.guards import MISSING, NOT_READ, UNPROVEN
from pdsync.plan.migrate import allowing, part_name, unfilled_by
from pdsync.plan.order import relation_targets
from pdsync.plan.portions import GIVEN_NO_MORE, failed_of, with_missing
from pdsync.plan.saved import names_before

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Cause, Change, FieldChange, Json, LedgerEntry, MappingRule, Plan, Withheld
    from pdsync.plan.blueprints import BlueprintPlan
    from pdsync.plan.decide import Facts
    from pdsync.plan.saved import Names

REMOVALS = ("delete", "release", "forget")


@dataclass(frozen=True, slots=True)
class Past:
    """The catalog that was applied last, and what mapping gives at the other corners for the records of a plan.

    `by_source` is under the catalog of then with the records of now; `by_catalog` under that of now with the records of
    then, and `then` with both as they were: None where the records of then are not kept.
    `taken_at` is the moment of those.
    """

    catalog: Catalog
    expressions: Mapping[str, Mapping[str, str]]
    by_source: DesiredEntities
    by_catalog: DesiredEntities | None = None
    then: DesiredEntities | None = None
    taken_at: str = ""


def may_have_moved(facts: Facts) -> bool:
    """Whether anything but records and Port can be behind a change: else every cause is known already."""
    owned = facts.ledger
    if not owned.catalog:  # nothing was applied, or all of it was removed
        return False
    same_catalog = owned.catalog == facts.catalog.tree and owned.expressions == facts.expressions
    return not same_catalog or owned.tool != facts.tool


def records_behind(plan: Plan, facts: Facts) -> frozenset[str]:
    """The records, as `services/PX1`, that decide about what a plan changes: those from which it is made, or was.

    An entity is also there for as long as something points at it, so the records of what does count too.
    Together with those that have moved since they suffice at the corners.
    """
    found: set[str] = set()
    moving: set[EntityKey] = set()
    for change in plan.changes:
        if change.target == "entity":
            last = facts.ledger.entities.get(change.key)
            found |= {source for made in (change.ledger, last) if made for source in sources_of(made)}
            if change.action == "create" or change.action in REMOVALS:
                moving.add(change.key)
    for key in (item.key for item in plan.withheld if _has_a_cause(item)):
        last = facts.ledger.entities.get(key)
        found |= set(sources_of(last)) if last else set()
        moving.add(key)
    if moving:
        blueprints = {**facts.existing.blueprints, **facts.catalog.blueprints}
        sides = (facts.desired.entities.items(), facts.ledger.entities.items())
        pointing = (each for side in sides for key, each in side if _points(key, each, moving, blueprints))
        found |= {source for each in pointing for source in sources_of(each)}
    return frozenset(found)


def _has_a_cause(item: Withheld) -> bool:
    """Whether something that stays would go for a reason that catalog or records can be behind."""
    return item.target == "entity" and item.why in _EITHER and item.reason not in (UNPROVEN, NOT_READ, MISSING)


_EITHER = ("unmapped", "gone-from-source")


def _points(
    key: EntityKey,
    entity: DesiredEntity | LedgerEntry,
    at: AbstractSet[EntityKey],
    blueprints: Mapping[str, Blueprint],
) -> bool:
    targets = relation_targets(entity.fields, blueprints.get(key.blueprint))
    return any(target in at for _, target in targets)


def with_causes(plan: Plan, facts: Facts, past: Past) -> Plan:
    """The plan with the causes of its changes as the corners tell them."""
    told = _Attribution(plan, facts, past)
    changes = tuple(told.of(change) for change in plan.changes)
    withheld = tuple(told.withheld(item) for item in plan.withheld)
    return replace(plan, changes=changes, withheld=withheld, inexact=_guessed(told.guessed) or plan.inexact)


def _guessed(keys: AbstractSet[EntityKey]) -> str:
    """Why the causes of some changes are told by which expressions changed; "" where there are none."""
    if not keys:
        return ""
    first, *others = sorted(map(str, keys))
    named = f"{first} and {len(others)} more" if others else first
    return (
        f"{named}: what was applied last is not what the catalog and the records of then give "
        "(that apply was limited or done in part, or a search finds something else now)"
    )


class _Corner:
    """One evaluation, asked about single entities and fields.

    `names` gives the names that paths had where they are asked for by those after the plan.
    """

    def __init__(self, facts: Facts, blueprints: Mapping[str, Blueprint], names: Names) -> None:
        self._facts = facts = with_missing(facts)
        self._names = names
        self._desired, _ = with_stubs(facts, blueprints, {}, Scope())
        self._desired = {key: want for key, want in self._desired.items() if key.blueprint in blueprints}
        self._decisions = EntityDecisions(facts, blueprints, self._desired, Scope())
        self._blueprints = blueprints
        self._drops = facts.catalog.project.policy.invalid == "drop-field"
        self._rulers: dict[str, Ruler] = {}
        self._values: dict[tuple[EntityKey, bool], Mapping[str, Json] | None] = {}

    def has(self, key: EntityKey) -> bool:
        """Whether the entity is to be there."""
        return self._want(key) is not None or self._left(key)

    def made_by(self, key: EntityKey) -> Json:
        """Which rules and record make the entity, None when there is no such entity."""
        last, want = self._facts.ledger.entities.get(key), self._want(key)
        if want is None:
            return makers(last) if last and self._left(key) else None
        return makers(want)

    def value(self, key: EntityKey, path: str, *, new: bool) -> Json:
        """What a field is to be, None when there is no such entity; of one that is `new`, what it begins with."""
        last, want = self._facts.ledger.entities.get(key), self._want(key)
        path = self._names.get((key.blueprint, path), path)
        last = last and self._decisions.left_alone.as_left(last, self._facts.existing.entities.get(key))
        applied = last.fields.get(path) if last else None
        if want is None:
            return applied if self._left(key) else None
        if path in want.unknown:
            return applied
        return (self._written(want, last, new=new) or {}).get(path)

    def _want(self, key: EntityKey) -> DesiredEntity | None:
        """What the entity is to be; None also of one that was never made because Port would refuse it."""
        want = self._desired.get(key)
        if want is None or key in self._facts.ledger.entities:
            return want
        return None if self._written(want, None, new=True) is None else want

    def _written(self, want: DesiredEntity, last: LedgerEntry | None, *, new: bool) -> Mapping[str, Json] | None:
        """What would be written of an entity, without what Port would refuse; None where it would not be made."""
        if (want.key, new) not in self._values:
            made = self._decisions.would_be(want, last, new=new)
            self._values[want.key, new] = self._taken(want.key.blueprint, made, last)
        return self._values[want.key, new]

    def _taken(self, blueprint: str, made: Mapping[str, Json], last: LedgerEntry | None) -> Mapping[str, Json] | None:
        applied = last.fields if last else None
        asked = [path for path, value in made.items() if not same(value, (applied or {}).get(path))]
        if blueprint not in self._rulers:
            self._rulers[blueprint] = Ruler(self._blueprints[blueprint])
        found = self._rulers[blueprint].of(asked, [made[path] for path in asked], created=last is None)
        refused = [each for each in found if not each.doubted]
        if not refused:
            return made
        if not self._drops or any(each.vital for each in refused):
            return applied
        return {**made, **{each.path: (applied or {}).get(each.path) for each in refused}}

    def _left(self, key: EntityKey) -> bool:
        """Whether the entity would be left as it is: what it should be is not known, or its age keeps it."""
        last = self._facts.ledger.entities.get(key)
        if last is None:
            return False
        unknown = key in self._facts.desired.held or failed_of(last, self._facts) is not None
        return unknown or self._decisions.retention.age(key, last) == "kept"


class _Attribution:
    """The causes of one plan's changes."""

    def __init__(self, plan: Plan, facts: Facts, past: Past) -> None:
        scope = Scope.read(plan.base.scope)
        used = {key.blueprint for key in facts.desired.entities}
        schema = _as_planned(plan, facts, scope, used)
        after = between(facts, schema.migrations)
        self._facts, self._past = facts, past
        self._rules = {rule.id: rule for rule in facts.catalog.rules}
        self._old_rules = {rule.id: rule for rule in past.catalog.rules}
        self._tool = facts.ledger.tool != facts.tool
        self.guessed: set[EntityKey] = set()
        self._left_alone = LeftAlone(_leaving_alone(facts.catalog.rules, past.catalog.rules))
        self._applied, self._there = after.ledger.entities, after.existing.entities
        self._anew = {name: each.dropped for name, each in schema.migrations.items()}
        then_alone = replace(past.catalog, rules=_leaving_alone(past.catalog.rules, facts.catalog.rules))
        old = replace(facts, catalog=then_alone, expressions=past.expressions)
        before, names = blueprints_after(old), names_before(plan.changes)

        def then(desired: DesiredEntities, taken_at: str) -> _Corner:
            return _Corner(replace(old, desired=desired, taken_at=taken_at), before, names)

        self._by_source = then(past.by_source, facts.taken_at)
        self._then = then(past.then, past.taken_at) if past.then is not None else None
        self._by_catalog = None
        if past.by_catalog is not None:
            after = replace(after, desired=past.by_catalog, taken_at=past.taken_at)
            self._by_catalog = _Corner(after, schema.after, {})

    def of(self, change: Change) -> Change:
        """The change with its causes; one of a blueprint knows them already."""
        if change.target == "blueprint" or change.reason == "carried":
            return change
        last = self._last(change)
        moves = (change.action in REMOVALS) is (last is not None)
        being = self._being(change) if moves else ()
        fields = tuple(self._field(change, field, being) for field in change.fields)
        written = () if change.action == "adopt" else _union(fields)
        found = being or written or self._of_ledger(change, last) or change.causes
        main = found[0] if moves else main_cause(fields, found[0])
        if change.reason == "gone-from-port" or (change.action == "create" and last is not None):
            main = "drift"
        told = replace(change, fields=fields, cause=main, causes=all_causes(main, found))
        if not moves:
            return told
        return replace(told, reason=_reason(told), origin=self._place(told, last) if "catalog" in found else "")

    def withheld(self, item: Withheld) -> Withheld:
        """What is withheld, with the word for why it would go."""
        if not _has_a_cause(item):
            return item
        guessed = item.key in self.guessed
        found = self._ask(item.key, lambda corner: corner.has(item.key), applied=True, planned=False)
        if not guessed:  # nothing is said of its causes
            self.guessed.discard(item.key)
        return replace(item, why=_word(item.why, found)) if found else item

    # --- one question

    def _ask(self, key: EntityKey, at: Callable[[_Corner], Json], applied: Json, planned: Json) -> tuple[Cause, ...]:
        """The causes for which something that was applied one way is planned another way.

        None at all when what was applied is not what the catalog and the records of then give: it is from elsewhere
        (an apply that was limited, or done in part), and the corners do not speak of it.
        """
        then = at(self._then) if self._then else applied
        if self._then and not self._tool and not same(then, applied):
            self.guessed.add(key)
            return ()
        found: set[Cause] = set()
        if not same(then, applied):
            found.add("tool")
        by_source = at(self._by_source)
        if not same(by_source, then):
            found |= {"source", "tool"} if self._tool and not self._then else {"source"}
        by_catalog, beside = (at(self._by_catalog), then) if self._by_catalog else (planned, by_source)
        if not same(by_catalog, beside):
            found.add("catalog")
        if not found & {"catalog", "source"} and not same(planned, then):
            found |= {"catalog", "source"}
        return tuple(cause for cause in CAUSES if cause in found)

    def _being(self, change: Change) -> tuple[Cause, ...]:
        """Why an entity comes or goes.

        Where the catalog asks PagerDuty for another list now, nobody knows what that of then would hold.
        """
        there = change.action not in REMOVALS
        found = self._ask(change.key, lambda corner: corner.has(change.key), applied=not there, planned=there)
        asked_anew: tuple[Cause, ...] = ("catalog",) if self._is_asked_anew(change) else ()
        return tuple(c for c in CAUSES if c in (*asked_anew, *found)) if found else change.causes

    def _is_asked_anew(self, change: Change) -> bool:
        """Whether a rule that makes, or made, an entity reads another list than when it was last applied."""
        last = self._applied.get(change.key)
        rules = change.ledger.rules if change.ledger else last.rules if last else ()
        both = ((self._rules.get(rule), self._old_rules.get(rule)) for rule in rules)
        return any(now is not None and then is not None and now.query != then.query for now, then in both)

    def _field(self, change: Change, field: FieldChange, being: tuple[Cause, ...]) -> FieldChange:
        asked = field.note and not field.note.endswith(GIVEN_NO_MORE)
        if asked or field.path in self._anew.get(change.blueprint, ()):
            return field  # what a blueprint's change asks for
        if change.action in REMOVALS:
            return replace(field, cause=being[0], causes=being) if being else field
        last = self._last(change)
        rules = (*(change.ledger.rules if change.ledger else ()), *(last.rules if last else ()))
        applied = last.fields.get(field.path) if last else None
        applied = self._left_alone.inside(rules, field.path, applied, field.before).value if last else None
        found: tuple[Cause, ...] = ()
        if not same(applied, field.after):
            found = self._value(change.key, field.path, applied, field.after, new=change.action == "create")
            found = found or tuple(cause for cause in field.causes if cause != "drift")
        elif not field.drift:
            found = being or field.causes
        found = (*found, *(("drift",) if field.drift else ())) or field.causes
        origin = field.origin or (self._gone_from(last, field.path) if "catalog" in found else "")
        return replace(field, cause=found[0], causes=found, origin=origin)

    def _last(self, change: Change) -> LedgerEntry | None:
        """What was applied; what is left alone inside a value was never ours, and counts as Port has it."""
        last, rules = self._applied.get(change.key), change.ledger.rules if change.ledger else ()
        return last and self._left_alone.as_left(last, self._there.get(change.key), rules)

    def _value(
        self, key: EntityKey, path: str, applied: Json, planned: Json, *, new: bool = False
    ) -> tuple[Cause, ...]:
        """Why the value of a field is to be another one."""
        return self._ask(key, lambda corner: corner.value(key, path, new=new), applied, planned)

    def _of_ledger(self, change: Change, last: LedgerEntry | None) -> tuple[Cause, ...]:
        """Why only the ledger moves: Port already has what is planned."""
        now = change.ledger
        if change.action != "adopt" or now is None or last is None:
            return ()
        found: set[Cause] = set()
        have = self._facts.existing.entities.get(change.key)
        for path in sorted(now.fields.keys() | last.fields.keys()):
            applied, planned = last.fields.get(path), now.fields.get(path)
            if not same(applied, planned):
                found |= {*self._value(change.key, path, applied, planned)}
                # What the plan itself does to a blueprint may be what brings Port there: then it is nobody's edit.
                edited = have is None or not same(have.fields.get(path), applied)
                found |= {"drift"} if edited and spoke_of(self._facts.ledger, last, path) else set()
        one, other = makers(last), makers(now)
        if one != other:
            found |= {*self._ask(change.key, lambda corner: corner.made_by(change.key), one, other)}
        return tuple(cause for cause in CAUSES if cause in found) or ("catalog",)

    # --- places

    def _gone_from(self, last: LedgerEntry | None, path: str) -> str:
        """Where in the catalog of then the expression stood that wrote a path which no rule writes now."""
        for rule in last.rules if last else ():
            if rule in self._old_rules and (expression := self._old_rules[rule].fields.get(path)):
                return self._then_at(str(expression.origin))
        return ""

    def _place(self, change: Change, last: LedgerEntry | None) -> str:
        """The place in the catalog that makes an entity come or go."""
        rules = change.ledger.rules if change.ledger else last.rules if last else ()
        for rule in rules:
            now, then = self._rules.get(rule), self._old_rules.get(rule)
            if now is None or then is None:
                return str(now.origin) if now else self._then_at(str(then.origin)) if then else ""
            if place := _first_other(now, then):
                return place
        return ""

    def _then_at(self, place: str) -> str:
        commit = self._facts.ledger.commit
        return f"{place}@{commit[:10]}" if commit else place


def _as_planned(plan: Plan, facts: Facts, scope: Scope, used: AbstractSet[str]) -> BlueprintPlan:
    """What a plan does to blueprints: with what it lets through, and without what it stops."""
    blueprints = [change for change in plan.changes if change.target == "blueprint"]
    done = {f"{change.blueprint}.{part_name(field.path)}" for change in blueprints for field in change.fields}
    schema = plan_blueprints(facts, scope, used)
    allowed = {name: number for name, number in allowing(schema.guards).items() if name in done}
    scope = replace(scope, allow_breaking={**scope.allow_breaking, **allowed})
    schema = plan_blueprints(facts, scope, used) if allowed else schema
    found = unfilled_by(plan.changes, facts, schema.migrations)
    stopped = {(key, path) for key, path in found if f"{key.blueprint}.{part_name(path)}" not in done}
    return plan_blueprints(facts, scope, used, unfilled=stopped) if stopped else schema


def _leaving_alone(rules: Sequence[MappingRule], others: Iterable[MappingRule]) -> tuple[MappingRule, ...]:
    """The rules, with the places inside values that their namesakes among others leave alone left alone as well."""
    also = {rule.id: tuple(filter(place_of, rule.lifecycle.ignore_changes)) for rule in others}
    left = [(*rule.lifecycle.ignore_changes, *also.get(rule.id, ())) for rule in rules]
    return tuple(
        replace(rule, lifecycle=replace(rule.lifecycle, ignore_changes=tuple(dict.fromkeys(paths))))
        for rule, paths in zip(rules, left, strict=True)
    )


def _first_other(now: MappingRule, then: MappingRule) -> str:
    """Where the first part that is not as then stands, of those that say whether a record is an entity, and which."""
    parts = ("items", "selector", "identifier", "blueprint")
    for part in parts:
        one, other = getattr(now, part), getattr(then, part)
        if _text(one) != _text(other):
            return str((one or now).origin)
    asked = now.query != then.query or now.lifecycle.retention != then.lifecycle.retention
    return str(now.origin) if asked else ""


def _text(part: object) -> str:
    return part.text if isinstance(part, Expression | SearchQuery) else repr(part)


def _union(fields: Iterable[FieldChange]) -> tuple[Cause, ...]:
    found = {cause for field in fields for cause in field.causes}
    return tuple(cause for cause in CAUSES if cause in found)


def _reason(change: Change) -> str:
    """The word for a removal, in keeping with its causes."""
    return _word(change.reason, change.causes)


def _word(reason: str, causes: Collection[Cause]) -> str:
    if reason == "unmapped" and "catalog" not in causes:
        return "gone-from-source"
    if reason == "gone-from-source" and "source" not in causes:
        return "unmapped"
    return reason


def lines_of(plan: Plan) -> Iterator[str]:
    """The catalog lines that a plan names for a change that the catalog caused."""
    for change in plan.changes:
        if change.origin and "catalog" in change.causes:
            yield change.origin
        yield from (field.origin for field in change.fields if field.origin and "catalog" in field.causes)
