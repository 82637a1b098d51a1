"""A run put back: the plan that undoes what it did, where nobody has touched that since.

    | the run       | Port now                           | the revert                                                 |
    |---------------|------------------------------------|------------------------------------------------------------|
    | created it    | as it was made, and ours           | delete; forget it when it is gone already                  |
    | changed it    | a field is as it was written       | that field as it was before                                |
    | deleted it    | not there                          | create, with all that it held                              |
    | released it   | the fields are still empty         | the fields as they were, and ours again                    |
    | adopted it    |                                    | forget, if the ledger did not know it before               |
    | forgot it     | there, as we had last written it   | ours again                                                 |

Whatever is another thing by now, by whomever, is left as it is and named with what it is now.  The ledger says
afterwards what it said before the run.  What guards and checks stop in any plan, they stop here.  Parts of blueprints
go the same way; values that went with a part are not known, and do not come back with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.model import (
    Change,
    DeleteLimit,
    DesiredEntities,
    DesiredEntity,
    EntityKey,
    ExistingEntity,
    FieldChange,
    Guard,
    Held,
    LedgerEntry,
    Plan,
)
from pdsync.normal import blueprint_fields, same
from pdsync.plan import fingerprint, summary_of
from pdsync.plan.blast import blast_radius
from pdsync.plan.blueprints import BlueprintPlan, blueprints_that_stay, in_force, settled_for
from pdsync.plan.carrying import between, with_carried
from pdsync.plan.checks import check_upserts
from pdsync.plan.guards import Situation, guard_removals
from pdsync.plan.migrate import entity_path, migrated
from pdsync.plan.order import in_order, relation_targets
from pdsync.plan.parts import origin_of, origins_of, stays, with_names, with_origins
from pdsync.plan.readers import clearing, with_readers
from pdsync.plan.rename import RENAMED, standing_in, unlinked
from pdsync.plan.saved import with_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Action, Blueprint, Catalog, Fields, FieldsView, Json, PlanBase, RunRecord
    from pdsync.plan import Facts, Scope
    from pdsync.plan.migrate import Migration

CHANGED_SINCE = "changed-since"
"""The guard that tells how much is not as the run left it."""

REVERTED, MADE = "reverted", "made-by-run"
"""The reasons of what is put back: as it was before, or not there."""

_NOT_OURS_BEFORE = ("taken-over", "equal")
_GONE, _NOT_OURS, _THERE = "it is gone", "it is not ours any more", "it is there again"
_SHOWN = 60
_NAMED = 5


def entry_before(change: Change) -> LedgerEntry | None:
    """What the ledger said of a change's entity or blueprint before, as far as the change itself tells; else None."""
    entry = change.ledger
    if entry is None or change.action == "create" or change.reason in _NOT_OURS_BEFORE:
        return None
    fields = dict(entry.fields)
    for each in change.fields:
        fields.pop(each.path, None)
        fields |= {each.moved_from or each.path: each.before} if each.before is not None else {}
    return replace(entry, fields=dict(sorted(fields.items())))


def undone_by(record: RunRecord, scope: Scope) -> list[Change]:
    """The changes of a run that were done, and so can be undone."""
    return [c for c in record.plan.changes if record.statuses.get(c.n) == "done" and scope.covers(c)]


class Undoing:
    """The changes of a run, turned round one by one.

    `facts.existing` holds all that their entities hold now; nothing is asked of the desired side.
    """

    def __init__(self, record: RunRecord, facts: Facts, scope: Scope) -> None:
        self.record = record
        self.facts = facts
        done = undone_by(record, scope)
        self._entities = [change for change in done if change.target == "entity"]
        self.blueprints = [self._blueprint(change) for change in done if change.target == "blueprint"]

    def drafts(self) -> list[Change]:
        """What becomes of blueprints, before anything is weighed."""
        return [turned.draft for turned in self.blueprints if turned.draft is not None]

    def entities(self, blueprints: Mapping[str, Blueprint], moved: Mapping[str, Mapping[str, str]]) -> list[_Turned]:
        """The entities; `blueprints` are those in force afterwards, `moved` by blueprint the paths they rename."""
        names = {name: _Names(_paths_of(each), moved.get(name, {})) for name, each in blueprints.items()}
        nothing = _Names(frozenset(), {})
        return [self._entity(change, names.get(change.blueprint, nothing)) for change in self._entities]

    def targets(self) -> frozenset[EntityKey]:
        """What the relations that are written again point at."""
        blueprints = in_force(self.facts.existing.blueprints, self.drafts())
        turned = (each.draft for each in self.entities(blueprints, {}))
        return frozenset(
            target
            for draft in turned
            if draft is not None
            for _, target in relation_targets(dict(draft.afters()), blueprints.get(draft.blueprint))
        )

    # --- blueprints

    def _blueprint(self, change: Change) -> _Turned:
        now = self.facts.existing.blueprints.get(change.blueprint)
        fields = blueprint_fields(now.definition) if now else None
        entry = self.facts.ledger.blueprints.get(change.blueprint)
        if change.action == "create":
            return _unmade(change, fields, entry, _unlike(change, fields or {}, lambda _path, _value: False))
        if change.action == "delete":
            image = self.record.images.get(change.n)
            held = blueprint_fields(image) if isinstance(image, dict) else None
            return _remade(change, now is not None, held, self._before(change))
        if change.action in ("update", "release") and fields is not None and entry is not None:
            return self._changed(change, fields, entry, _Names(None, {}), "")
        return self._noted(change, fields, entry)

    # --- entities

    def _entity(self, change: Change, names: _Names) -> _Turned:
        now, entry = self.facts.existing.entities.get(change.key), self.facts.ledger.entities.get(change.key)
        fields = now.fields if now else None
        if change.action == "create":
            own = self.facts.existing.blueprints.get(change.blueprint)
            unlike = _unlike(change, fields or {}, _filled_in(change, own))
            return _unmade(change, fields, entry, unlike, _by(now))
        if change.action == "delete":
            image = self.record.images.get(change.n)
            held = names.kept(image.fields) if isinstance(image, ExistingEntity) else None
            return _remade(change, now is not None, held, names.entry(self._before(change)))
        written = change.action == "update" and entry is not None
        if fields is not None and change.fields and (written or change.action == "release"):
            return self._changed(change, fields, entry, names, _by(now))
        return self._noted(change, fields, entry)

    # --- either

    def _before(self, change: Change) -> LedgerEntry:
        """The ledger's entry before the run; from an older journal as near as the plan tells it."""
        noted = self.record.before.entries.get(change.n) if self.record.before else None
        told = noted or entry_before(change)
        if told is not None:
            return told
        held = {path: value for path, value in change.befores() if value is not None}
        return LedgerEntry(held, "adopted" if change.action == "release" else "created", source=change.source)

    def _changed(self, change: Change, now: Fields, entry: LedgerEntry | None, names: _Names, by: str) -> _Turned:
        """The fields that are still as the run wrote them, as they were before."""
        fields, refused = _fields_back(change, now)
        fields = [replace(each, path=names.moved.get(each.path, each.path)) for each in fields]
        fields = [each for each in fields if names.has(each.path)]
        before = None if change.reason in _NOT_OURS_BEFORE else names.entry(self._before(change))
        if not refused and (before is None or entry == change.ledger):
            back = before
        else:
            back = _entry_back(names.entry(entry) if entry else None, before, fields)
        if not fields and back == entry:
            return _Turned(change, None, _since(refused, by))
        written = not all(stays(each) for each in fields)
        action: Action = "update" if written else "adopt" if back else "forget"
        draft = replace(change, action=action, fields=tuple(fields), ledger=back)
        return _Turned(change, _turned(draft, change), _since(refused, by))

    def _noted(self, change: Change, now: Fields | None, entry: LedgerEntry | None) -> _Turned:
        """What only moved the ledger; and what is not there any more."""
        if change.action == "adopt" and change.reason == "equal" and entry is not None:
            if entry != change.ledger:
                return _Turned(change, None, "a later run has written it: revert that first")
            return _Turned(change, _turned(replace(change, action="forget", ledger=None), change), "")
        if change.action in ("forget", "release") and change.reason != "gone-from-port" and entry is None:
            return self._ours_again(change, now)
        left = change.action in ("update", "release")
        return _Turned(change, None, (_GONE if now is None else _NOT_OURS) if left else "")

    def _ours_again(self, change: Change, now: Fields | None) -> _Turned:
        """What the run ceased to own without changing it."""
        if now is None:
            return _Turned(change, None, _GONE)
        before = self._before(change)
        unlike = [(path, now.get(path), value) for path, value in before.fields.items()]
        if differing := _since([each for each in unlike if not same(*each[1:])], ""):
            return _Turned(change, None, differing)
        return _Turned(change, _turned(replace(change, action="adopt", ledger=before), change), "")


class _Turned(NamedTuple):
    """A change of the run, what undoes it (None: nothing does), and what of it is left as it is, and why."""

    change: Change
    draft: Change | None
    refused: str


class _Names(NamedTuple):
    """The paths that entities of a blueprint have afterwards (None: any), and the new names of those renamed."""

    paths: frozenset[str] | None
    moved: Mapping[str, str]

    def has(self, path: str) -> bool:
        return self.paths is None or path in self.paths

    def kept(self, fields: FieldsView) -> Fields:
        """Fields under their new names, without those that there is no place for."""
        named = ((self.moved.get(path, path), value) for path, value in fields.items())
        return {path: value for path, value in sorted(named) if value is not None and self.has(path)}

    def entry(self, entry: LedgerEntry) -> LedgerEntry:
        return with_names(entry, self.kept(entry.fields), self.moved)


def _turned(draft: Change, change: Change) -> Change:
    """A draft as part of a revert; what was half of a rename still is."""
    reason = MADE if draft.action == "delete" else REVERTED
    if change.twin and draft.action in ("create", "delete"):
        reason = RENAMED
    return replace(draft, n=0, after=(), reason=reason, seen="", meanwhile=())


def _unmade(
    change: Change, now: Fields | None, entry: LedgerEntry | None, unlike: Sequence[_Unlike], by: str = ""
) -> _Turned:
    """What the run made, taken away again."""
    if now is None:
        gone = replace(change, action="forget", fields=(), ledger=None, n=0, after=(), reason="gone-from-port", twin="")
        return _Turned(change, gone if entry else None, "")
    if entry is None or entry.origin != "created":
        return _Turned(change, None, _NOT_OURS)
    if unlike:
        return _Turned(change, None, _since(unlike, by))
    entity = change.target == "entity"
    going = tuple(_field(path, value, None) for path, value in sorted(now.items()) if value is not None and entity)
    return _Turned(change, _turned(replace(change, action="delete", fields=going, ledger=None), change), "")


def _remade(change: Change, there: bool, held: Fields | None, before: LedgerEntry) -> _Turned:  # noqa: FBT001
    """What the run deleted, made again."""
    if there:
        return _Turned(change, None, _THERE)
    if held is None:
        return _Turned(change, None, "the run's journal does not tell what it held")
    fields = tuple(_field(path, None, value) for path, value in sorted(held.items()))
    return _Turned(change, _turned(replace(change, action="create", fields=fields, ledger=before), change), "")


_Unlike = tuple[str, "Json", "Json"]
"""A path, what is there now, and what the run wrote."""


def _unlike(change: Change, now: Fields, fine: Callable[[str, Json], bool]) -> list[_Unlike]:
    """Where something that the run made is not as it made it; what it did not write may be `fine`."""
    wrote = dict(change.afters())
    return [
        (path, now.get(path), wrote.get(path))
        for path in sorted(now.keys() | wrote.keys())
        if not same(now.get(path), wrote.get(path)) and (path in wrote or not fine(path, now.get(path)))
    ]


def _filled_in(change: Change, blueprint: Blueprint | None) -> Callable[[str, Json], bool]:
    """Whether Port itself gives a new entity this value: the default of a property, the identifier for a title."""
    properties = blueprint.properties if blueprint else {}

    def fine(path: str, value: Json) -> bool:
        default = properties.get(path.removeprefix("properties."), {}).get("default")
        return same(value, change.identifier if path == "title" else default)

    return fine


def _fields_back(change: Change, now: Fields) -> tuple[list[FieldChange], list[_Unlike]]:
    """The fields of a change the other way round, and those that are not as it wrote them."""
    fields: list[FieldChange] = []
    refused: list[_Unlike] = []
    for each in change.fields:
        held = now.get(each.path)
        if same(held, each.after) and not (each.moved_from and each.moved_from in now):
            fields += _back(each, held)
        elif each.moved_from or not same(held, each.before):
            refused.append((each.path, held, each.after))
    return fields, refused


def _back(each: FieldChange, held: Json) -> Iterator[FieldChange]:
    """One field back; a part that got another name goes under the new one and comes under the old one."""
    if each.moved_from:
        yield _field(each.path, held, None)
        yield _field(each.moved_from, None, each.before)
    elif not same(held, each.before):
        lost = "comes back empty: the values went with it" if held is None and entity_path(each.path) else ""
        yield replace(_field(each.path, held, each.before), note=lost)
    elif stays(each):
        yield replace(_field(each.path, held, each.before), note="ours again")


def _field(path: str, before: Json, after: Json) -> FieldChange:
    return FieldChange(path, before, after, "revert", causes=("revert",))


def _entry_back(entry: LedgerEntry | None, before: LedgerEntry | None, fields: Iterable[FieldChange]) -> LedgerEntry:
    """The ledger's entry with what is put back, and all else as it is."""
    have = entry or before
    assert have is not None
    told = dict(entry.fields) if entry else {}
    origins = origins_of(entry)
    for each in fields:
        told.pop(each.path, None)
        if before is not None and each.path in before.fields:
            told[each.path] = before.fields[each.path]
            origins[each.path] = origin_of(before, each.path)
    made = before if before is not None and before.portions else have  # what is put back is of the records of then
    fields_back = dict(sorted(told.items()))
    back = replace(have, fields=fields_back, rules=made.rules, source=made.source, portions=made.portions)
    return with_origins(back, origins)


def _since(unlike: Sequence[_Unlike], by: str) -> str:
    """What was changed since, in words; empty for nothing."""
    if not unlike:
        return ""
    told = [f"{path} is now {_shown(now)}, the run wrote {_shown(wrote)}" for path, now, wrote in unlike[:_NAMED]]
    more = [f"and {len(unlike) - _NAMED} more fields"] if len(unlike) > _NAMED else []
    return "changed since the run: " + "; ".join([*told, *more, *([by] if by else [])])


def _by(now: ExistingEntity | None) -> str:
    return f"last written by {now.updated_by} at {now.updated_at}" if now and now.updated_by and now.updated_at else ""


def _shown(value: Json) -> str:
    if value is None:
        return "empty"
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _paths_of(blueprint: Blueprint) -> frozenset[str]:
    properties = (f"properties.{name}" for name in blueprint.properties)
    return frozenset([*blueprint.meta, *properties, *(f"relations.{name}" for name in blueprint.relations)])


# --- the plan --------------------------------------------------------------------------------------------------


def make_revert(record: RunRecord, facts: Facts, base: PlanBase, scope: Scope) -> Plan:
    """The plan that undoes what a run did.

    `facts.existing` also holds all entities of blueprints that may lose something (`paths_at_stake` of the drafts) or
    go.  `base` tells what the ledger will say of catalog and snapshot.
    """
    facts = replace(facts, catalog=_mapping_nothing(facts.catalog, record, scope))
    undoing = Undoing(record, facts, scope)
    first = undoing.entities(in_force(facts.existing.blueprints, undoing.drafts()), {})
    facts = replace(facts, desired=_staying(facts, first))
    staying: frozenset[str] = frozenset()
    while True:
        schema = _migrated(undoing.drafts(), facts, scope, staying)
        plan = _planned(undoing, schema, facts, base, scope)
        kept = schema.counted_on.intersection(item.blueprint for item in plan.withheld if item.target == "blueprint")
        if not kept:
            return plan
        staying |= kept


def _planned(undoing: Undoing, schema: BlueprintPlan, facts: Facts, base: PlanBase, scope: Scope) -> Plan:
    """The plan that goes with what happens to blueprints."""
    migrations = schema.migrations
    blueprints = schema.after
    turned = undoing.entities(blueprints, {name: each.moved for name, each in migrations.items()})
    entities = [each.draft for each in turned if each.draft is not None]
    upserts = [draft for draft in entities if draft.action not in ("delete", "forget")]
    upserts, _ = with_carried(upserts, facts, migrations, blueprints, facts.desired.entities)
    before, facts = facts, between(facts, migrations)
    going = [draft for draft in entities if draft.action in ("delete", "forget")]
    moves = {draft.key: EntityKey(draft.blueprint, draft.twin) for draft in going if draft.twin}
    standing = standing_in(moves, facts.existing.entities)
    checked = check_upserts(upserts, facts, blueprints, standing=standing)
    updates = {change.key: change for change in checked.changes if change.action == "update"}
    removals = guard_removals(going, Situation(facts, scope, {}, updates, (), blueprints))
    drafts, staying = blueprints_that_stay(schema.changes, removals.allowed, blueprints, facts, scope)
    kept = unlinked(checked.changes, removals.allowed)
    changes = in_order([*drafts, *kept, *removals.allowed], blueprints, facts.existing.entities, standing)
    changes = tuple(map(_as_revert, with_seen(changes, before.existing)))
    withheld = (*removals.withheld, *staying)
    held = tuple(sorted([*_held(turned), *checked.held], key=lambda h: h.key))
    nothing = sum(each.draft is None and not each.refused for each in turned)
    return Plan(
        base=replace(base, scope=scope.told),
        changes=changes,
        withheld=withheld,
        held=held,
        guards=(*_changed_since([*undoing.blueprints, *turned]), *removals.guards, *schema.guards),
        summary=summary_of(changes, unchanged=nothing, withheld=len(withheld), held=len(held)),
        expressions=facts.ledger.expressions,
        fingerprint=fingerprint(changes),
        diagnostics=checked.diagnostics,
        blast=blast_radius(changes, withheld, facts, blueprints),
        clearing=clearing(changes, before.existing.blueprints),
    )


def _mapping_nothing(catalog: Catalog, record: RunRecord, scope: Scope) -> Catalog:
    """The catalog's policy alone, with the renames of the run the other way round.

    That nothing is left of a blueprint is what a revert of its first run means, and no sign of a broken mapping.
    """
    renames: dict[str, dict[str, str]] = {}
    for change in undone_by(record, scope):
        for each in change.fields if change.target == "blueprint" else ():
            if each.moved_from:
                renames.setdefault(change.blueprint, {})[_name(each.path)] = _name(each.moved_from)
    policy = catalog.project.policy
    limits = {name: replace(limit, empty="allow") for name, limit in {"*": DeleteLimit(), **policy.deletes}.items()}
    project = replace(catalog.project, policy=replace(policy, deletes=limits, renames=renames))
    return replace(catalog, rules=(), blueprints={}, project=project)


def _name(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _staying(facts: Facts, turned: Iterable[_Turned]) -> DesiredEntities:
    """What is there afterwards of what is ours, with the values that are written again."""
    drafts = {each.draft.key: each.draft for each in turned if each.draft is not None}
    going = {key for key, draft in drafts.items() if draft.action in ("delete", "forget")}
    keys = (facts.ledger.entities.keys() & facts.existing.entities.keys()) | drafts.keys()
    written = {key: dict(draft.afters()) for key, draft in drafts.items()}
    return DesiredEntities({key: DesiredEntity(key, written.get(key, {}), (), "") for key in sorted(keys - going)})


def _migrated(drafts: Sequence[Change], facts: Facts, scope: Scope, staying: AbstractSet[str]) -> BlueprintPlan:
    """The blueprints, with what would lose values saved or left out as in any plan; `staying` are not deleted."""
    changes: list[Change] = []
    migrations: dict[str, Migration] = {}
    guards: list[Guard] = []
    facts = replace(facts, catalog=replace(facts.catalog, blueprints=_still_ours(drafts, facts)))
    leaving = {draft.blueprint for draft in drafts if draft.action == "delete"} - staying
    for draft in drafts:
        change = draft
        if draft.action == "update":
            migration = migrations[draft.blueprint] = migrated(draft.blueprint, draft.fields, facts, scope, leaving)
            guards += migration.guards
            stopped = migration.guards and draft.ledger is not None
            change = settled_for(draft, migration, facts) if stopped else replace(draft, fields=migration.fields)
        changes.append(change)
    changes = [change for change in with_readers(changes, facts) if change.fields or change.action != "update"]
    return BlueprintPlan(tuple(changes), tuple(guards), migrations, in_force(facts.existing.blueprints, changes))


def _still_ours(drafts: Sequence[Change], facts: Facts) -> dict[str, Blueprint]:
    """The blueprints that are ours and stay, as they are afterwards."""
    going = {draft.blueprint for draft in drafts if draft.action in ("delete", "forget")}
    after = in_force(facts.existing.blueprints, drafts)
    return {name: after[name] for name in sorted((facts.ledger.blueprints.keys() & after.keys()) - going)}


def _held(turned: Iterable[_Turned]) -> list[Held]:
    return [Held(*each.change.key, each.refused) for each in turned if each.refused]


def _changed_since(turned: Iterable[_Turned]) -> list[Guard]:
    """One guard for each blueprint of which something is not put back."""
    left = [each.change for each in turned if each.refused]
    entities = Counter(change.blueprint for change in left if change.target == "entity")
    own = {each.change.blueprint: each.refused for each in turned if each.refused and each.change.target == "blueprint"}
    guards = []
    for name in sorted(entities.keys() | own.keys()):
        count = entities[name]
        told = [own[name]] if name in own else []
        told += [f"{count} {'entity is' if count == 1 else 'entities are'} not as the run left them"] if count else []
        guards.append(Guard(CHANGED_SINCE, name, "; ".join(told)))
    return guards


def _as_revert(change: Change) -> Change:
    """A change whose only cause is that it is asked for."""
    fields = tuple(replace(f, cause="revert", causes=("revert",), origin="", drift=False) for f in change.fields)
    reason = REVERTED if change.reason in (RENAMED, "carried", "renamed") else change.reason
    change = replace(change, fields=fields, reason=reason, cause="revert", causes=("revert",))
    return replace(change, origin="", source_at="", edited_by="", edited_at="")
