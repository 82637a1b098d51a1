"""Entities under the decision table, and the stubs that relations ask for."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from pdsync.diff import Difference, diff_fields
from pdsync.errors import error, some_of, warning
from pdsync.model import (
    Change,
    DesiredEntity,
    EntityKey,
    FieldChange,
    FieldChanges,
    Held,
    LedgerEntry,
    Row,
    glance,
    makers,
    sources_of,
)
from pdsync.normal import defaults_of, desired_normaliser, desired_row, same
from pdsync.plan.alone import LeftAlone
from pdsync.plan.decide import CAUSES, all_causes, decide, is_system, main_cause, wanted_reason, writers
from pdsync.plan.drift import spoke_of
from pdsync.plan.guards import protected
from pdsync.plan.order import relation_targets
from pdsync.plan.ownership import Ownership
from pdsync.plan.parts import added_to, was_there
from pdsync.plan.pointing import pointing_beyond
from pdsync.plan.portions import GIVEN_NO_MORE, failed_of, giver_of, givers, lost_of, noted_portions
from pdsync.plan.rename import successors
from pdsync.plan.retention import Retention
from pdsync.plan.values import is_identifier
from pdsync.sharing import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

    from pdsync.errors import Diagnostic
    from pdsync.model import (
        Action,
        Blueprint,
        Cause,
        EntityOrigin,
        ExistingEntity,
        Fields,
        FieldsView,
        Json,
        MappingRule,
        Removal,
    )
    from pdsync.plan.decide import Facts, Scope

REPLACED = "not mapped, and enableMergeEntity is false"


_NO_PARTS: Mapping[str, EntityOrigin] = {}


def _with_title(target: Fields, key: EntityKey, have: ExistingEntity) -> Fields:
    """What shall be, beside what is there: an entity without a title may be given its identifier for one by Port."""
    titled = target.get("title", "") is None and have.fields.get("title") == key.identifier
    return {**target, "title": key.identifier} if titled else target


def with_stubs(
    facts: Facts, blueprints: Mapping[str, Blueprint], unproven: Mapping[str, str], scope: Scope
) -> tuple[Mapping[EntityKey, DesiredEntity], list[Diagnostic]]:
    """The desired entities, sorted, with those that only a relation needs; relations in scope that point at nothing.

    What is ours stays for as long as something desired points at it, as with Port's own integration; what is missing is
    made as a stub where the mapping says createMissingRelatedEntities.  Where absence is not proven (`unproven` says
    why, by blueprint), a record failed, or it stays there in any case, what is there is left as it is.
    """
    stays = _stays_anyway(facts)
    desired, owned = facts.desired.entities, facts.ledger.entities
    makes_stubs = {rule.id for rule in facts.catalog.rules if rule.create_missing_related}
    there = facts.existing.entities.keys() | facts.existing.known_targets
    needed: dict[EntityKey, DesiredEntity] = {}
    missing: dict[tuple[str, str], list[tuple[DesiredEntity, EntityKey]]] = {}
    for entity, targets in pointing_beyond(facts, blueprints):
        makes = makes_stubs.issuperset(entity.rules)
        for path, target in targets:
            if target in desired or target in facts.desired.held or (target in there and target not in owned):
                continue
            if target in there and (target.blueprint in unproven or failed_of(owned[target], facts) or stays(target)):
                continue
            if not is_identifier(target.identifier):
                continue  # a wrong value, which is said of it where it stands
            if target in there or (makes and not target.blueprint.startswith("_")):
                needed.setdefault(target, DesiredEntity(target, {}, entity.rules, ""))
            elif scope.covers_key(entity.key):
                missing.setdefault((entity.key.blueprint, path), []).append((entity, target))
    needed |= _still_needed(facts, blueprints, unproven, needed)
    whole = {**desired, **needed} if needed else desired
    keys = sorted(whole)
    if keys != list(whole):  # mapping gives them sorted: then no second table of all there is
        whole = {key: whole[key] for key in keys}
    rules = {rule.id: rule for rule in facts.catalog.rules} if missing else {}
    return whole, [_dangling(path, cases, rules) for (_, path), cases in sorted(missing.items(), key=lambda of: of[0])]


def _stays_anyway(facts: Facts) -> Callable[[EntityKey], bool]:
    """Whether an entity of ours that a record gave is not deleted when the record is gone: no relation has to keep it.

    Let go of, protected or kept for its age, it has what it has.
    """
    owned, ownership, renamed = facts.ledger.entities, Ownership(facts), successors(facts)
    retention = Retention(facts.catalog.rules, facts.taken_at)

    def stays(key: EntityKey) -> bool:
        last = owned[key]
        if key in renamed:
            return False
        let_go = last.protect or ownership.removal(key, last) != "delete"
        return bool(last.source) and (let_go or retention.age(key, last) in ("kept", "unknown"))

    return stays


def _still_needed(
    facts: Facts, blueprints: Mapping[str, Blueprint], unproven: Mapping[str, str], needed: Container[EntityKey]
) -> dict[EntityKey, DesiredEntity]:
    """Stubs of ours at which something of ours points that is left as it is, or whose relation is."""
    owned, there = facts.ledger.entities, facts.existing.entities
    doubtful = {
        key
        for key, last in owned.items()
        if not last.source and key in there and key not in facts.desired.entities and key not in needed
    }
    if not doubtful:
        return {}
    found: dict[EntityKey, DesiredEntity] = {}
    retention = Retention(facts.catalog.rules, facts.taken_at)
    for key in sorted(owned.keys() & there.keys()):
        if key in needed:
            continue  # it becomes a stub itself, which points at nothing
        fields = _left_as_it_is(key, facts, unproven, retention)
        for _, target in relation_targets(fields, blueprints.get(key.blueprint)):
            if target in doubtful:
                found[target] = DesiredEntity(target, {}, owned[target].rules, "")
    return found


def _left_as_it_is(key: EntityKey, facts: Facts, unproven: Mapping[str, str], retention: Retention) -> Fields:
    """What Port has of an entity of ours that surely stays as it is; of one that is desired what is unknown."""
    last, fields = facts.ledger.entities[key], facts.existing.entities[key].fields
    want = facts.desired.entities.get(key)
    if want is not None:
        return {path: fields[path] for path in want.unknown if path in fields}
    stays = key in facts.desired.held or failed_of(last, facts) is not None or key.blueprint in unproven
    stays = stays or last.protect or retention.age(key, last) in ("kept", "unknown")
    return fields if stays else {}


_STUBS = "map the missing entities, or set createMissingRelatedEntities: true to have stubs created"
_REAL = "real users and teams are never made for a relation: let the expression give those that Port has, or null"


def _dangling(path: str, cases: list[tuple[DesiredEntity, EntityKey]], rules: Mapping[str, MappingRule]) -> Diagnostic:
    first, target = cases[0]
    written = (rules[rule].fields.get(path) for rule in first.rules if rule in rules)
    return error(
        "PD601",
        "relation points at an entity that does not exist",
        detail=f"{path} of {first.key}: {target}" + (f" (first of {len(cases):,})" if len(cases) > 1 else ""),
        origin=next((expression.origin for expression in written if expression is not None), None),
        hint=_REAL if is_system(target.blueprint) else _STUBS,
        **some_of(n for entity, _ in cases for n in givers(entity, path) or [str(entity.key)]),
    )


class _Shape(NamedTuple):
    """What is the same for many new entities: the paths that are written, sorted, and those that are not remembered."""

    paths: tuple[str, ...]
    left_alone: frozenset[str]
    on_remove: Removal | None
    row: Callable[[Fields], tuple[Json, ...]]

    def remembered(self, fields: FieldChanges) -> FieldsView:
        """What the ledger remembers of what is written: the very values, or those that are not left alone."""
        paths, _, values, _ = fields.columns()
        if not self.left_alone:
            return Row(paths, values)
        held = [(path, value) for path, value in zip(paths, values, strict=True) if path not in self.left_alone]
        return filled(tuple(path for path, _ in held), (value for _, value in held))


class EntityDecisions:
    """The decision table run over all entities of one plan that are in its scope."""

    def __init__(
        self,
        facts: Facts,
        blueprints: Mapping[str, Blueprint],
        desired: Mapping[EntityKey, DesiredEntity],
        scope: Scope,
    ) -> None:
        self.facts = facts
        self.scope = scope
        self.policy = facts.catalog.project.policy
        self.blueprints = blueprints
        self.desired = desired
        self.rules = {rule.id: rule for rule in facts.catalog.rules}
        self.normalise = {name: desired_normaliser(blueprint) for name, blueprint in blueprints.items()}
        self._paths: dict[tuple[tuple[str, ...], str], tuple[str, bool]] = {}
        self._new: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[FieldChanges, tuple[Cause, ...]]] = {}
        self._shapes: dict[tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]], _Shape] = {}
        self._plain: dict[tuple[tuple[str, ...], str, tuple[str, ...], Removal | None], bool] = {}
        self.writers = writers(facts.catalog.rules)
        self.ownership = Ownership(facts)
        self.left_alone = LeftAlone((*facts.catalog.rules, *facts.catalog.ended))
        self.retention = Retention(facts.catalog.rules, facts.taken_at)
        self.retained = 0
        self.successors = successors(facts)
        self._in_the_way: dict[tuple[str, str, str], list[DesiredEntity]] = {}
        self.managed_paths = {
            name: frozenset(
                [f"properties.{p}" for p in blueprint.properties]
                + [f"relations.{r}" for r in blueprint.relations]
                + [*blueprint.meta]
            )
            for name, blueprint in blueprints.items()
        }

    def upserts(self) -> tuple[list[Change], list[Held], int]:
        """Creates, updates and adopts; what is held; how many are as they should be."""
        changes, held, unchanged = [], [], 0
        known, note = self.facts.unchanged.among(self.facts), self.facts.unchanged.noter(self.facts)
        for key, want in self.desired.items():
            if not self.scope.covers_key(key):
                continue
            if key in known:
                unchanged += 1
                continue
            if key.blueprint not in self.blueprints:
                held.append(Held(*key, f"there is no blueprint {key.blueprint}, neither in the catalog nor in Port"))
                continue
            self._note_in_the_way(want)
            have, last = self.facts.existing.entities.get(key), self.facts.ledger.entities.get(key)
            settled = have is not None and last is not None and self._is_settled(want, have, last)
            if settled and note:
                note(key, relation_targets(want.fields, self.blueprints[key.blueprint]))
            new = have is None and last is None
            change = None if settled else self.new(want) if new else self.wanted(want, have, last)
            if change is None:
                unchanged += 1
            elif last is None and have is not None and change.fields and self.policy.adopt == "refuse":
                held.append(Held(*key, "it exists in Port, is not ours and differs; policy.adopt is refuse"))
            else:
                changes.append(change)
        colliding = self.facts.desired.held.items()
        held += [Held(*key, reason) for key, reason in colliding if self.scope.covers_key(key)]
        return changes, held, unchanged

    def _note_in_the_way(self, want: DesiredEntity) -> None:
        if self.left_alone.looks_inside:
            for path, name, stands in self.left_alone.in_the_way(want.rules, want.fields):
                self._in_the_way.setdefault((path, name, stands), []).append(want)

    def not_left_alone(self) -> list[Diagnostic]:
        """Places inside values that are to be left alone, and that cannot be, once for all entities."""
        return [self._not_left_alone(*where, wants) for where, wants in sorted(self._in_the_way.items())]

    def _not_left_alone(self, path: str, name: str, stands: str, wants: Sequence[DesiredEntity]) -> Diagnostic:
        first = wants[0]
        written = (self.rules[rule].fields.get(path) for rule in first.rules if rule in self.rules)
        more = f" (first of {len(wants):,})" if len(wants) > 1 else ""
        return warning(
            "PD618",
            "`ignore_changes` leads where no object is",
            detail=f"{name} of {first.key}: a {stands} stands in the way{more}, and is written as mapped",
            origin=next((expression.origin for expression in written if expression is not None), None),
            hint=f"leave {path} alone as a whole, or map an object to it",
            **some_of(n for want in wants for n in givers(want, path)),
        )

    def removals(self) -> tuple[list[Change], list[Held]]:
        """Deletes, releases and forgets, before any guard; what is held because its record could not be mapped."""
        changes, held = [], []
        for key in sorted(self.facts.ledger.entities.keys() - self.desired.keys() - self.facts.desired.held.keys()):
            if not self.scope.covers_key(key):
                continue
            last, have = self.facts.ledger.entities[key], self.facts.existing.entities.get(key)
            age = "listed" if have is None or key in self.successors else self.retention.age(key, last)
            if failed := failed_of(last, self.facts):
                why = f"its record {failed} could not be mapped: {self.facts.desired.failed[failed]}"
                held.append(Held(*key, why, failed))
            elif age == "unknown":
                held.append(Held(*key, "its record is not listed any more, and its values do not tell how old it is"))
            elif age == "kept":
                self.retained += 1
            else:
                removal = self.ownership.renaming if key in self.successors else self.ownership.removal
                action = removal(key, last) if have else "forget"
                changes.append(self._unwanted(key, action, last, have, left=age == "left"))
        return changes, held

    def _is_settled(self, want: DesiredEntity, have: ExistingEntity, last: LedgerEntry) -> bool:
        """Whether Port and ledger hold every value as it shall be, told at once for nearly all of what is unchanged.

        For what has more to it - something unknown, left alone, left the mapping - it is not told, and False.
        """
        if want.rules != last.rules or want.source != last.source or want.portions != last.portions:
            return False
        if want.unknown or not self._is_plain(want, last):
            return False
        held, applied = glance(have), glance(last)
        left = len(applied)
        for path, value in self.normalise[want.key.blueprint](want.fields).items():
            before, there = applied.get(path), held.get(path)
            if value.__class__ is str:  # nearly all there is: told at once
                if before != value or there != value:
                    return False
            elif (before is not value and not same(before, value)) or (there is not value and not same(there, value)):
                return False
            left -= value is not None
        return not left

    def _is_plain(self, want: DesiredEntity, last: LedgerEntry) -> bool:
        """Whether what is to be is what is mapped, and the ledger says all but the values as it would say it anew."""
        shape = want.rules, want.key.blueprint, tuple(want.fields), last.on_remove
        plain = self._plain.get(shape)
        if plain is None:
            rules = [self.rules[rule] for rule in want.rules if rule in self.rules]
            plain = self._plain[shape] = (
                all(rule.merge and not rule.lifecycle.ignore_changes for rule in rules)
                and self.managed_paths[want.key.blueprint].issuperset(want.fields)
                and self.ownership.on_remove(want.rules) == last.on_remove
            )
        return plain and (last.protect or not protected(want.key, self.policy))

    def new(self, want: DesiredEntity) -> Change:
        """`wanted` of what is neither in Port nor ours, where nothing is to be compared: of a first plan, that is all.

        What is the same for all with these rules and fields is found out once.
        """
        shape = self._shape(want)
        paths, values = shape.paths, shape.row(want.fields)
        if None in values:
            given = [value is not None for value in values]
            paths, values = tuple(compress(paths, given)), tuple(compress(values, given))
        fields, causes = self._told_new(want, paths, values)
        entry = LedgerEntry(
            shape.remembered(fields),
            "created",
            want.rules,
            want.source,
            protected(want.key, self.policy),
            shape.on_remove,
            portions=want.portions,
        )
        made = Change(
            n=0,
            target="entity",
            action="create",
            blueprint=want.key.blueprint,
            identifier=want.key.identifier,
            title=str(want.fields.get("title") or want.key.identifier),
            fields=fields,
            reason="new" if want.source else "stub",
            cause=causes[0],
            source=want.source,
            ledger=entry,
            causes=causes,
        )
        return made.known_as(want.key)

    def _shape(self, want: DesiredEntity) -> _Shape:
        """What is the same for all new entities with these rules and fields."""
        key = want.rules, want.key.blueprint, tuple(want.fields), tuple(want.unknown)
        if (shape := self._shapes.get(key)) is None:
            managed = self.managed_paths.get(want.key.blueprint, frozenset())
            whole = set() if self._merges(want.rules) else defaults_of(self.blueprints[want.key.blueprint]).keys()
            paths = tuple(sorted(managed.intersection(want.fields) | (whole - want.unknown.keys())))
            left_alone = frozenset(path for path in paths if self.left_alone.covers(want.rules, path))
            row = desired_row(self.blueprints[want.key.blueprint], paths)
            shape = self._shapes[key] = _Shape(paths, left_alone, self.ownership.on_remove(want.rules), row)
        return shape

    def wanted(self, want: DesiredEntity, have: ExistingEntity | None, last: LedgerEntry | None) -> Change | None:
        """The change that a desired entity needs; None where nothing is to be done."""
        last = last and self.left_alone.as_left(last, have, want.rules)
        target, kept = self._target(want, last)
        target, ours = self.left_alone.without_ignored(want.key, want.rules, target, have)
        differences = diff_fields(have.fields, _with_title(target, want.key, have)) if have else diff_fields({}, target)
        written = {path: value for path, value in ours.items() if value is not None}
        entry = self._entry(want, have, last, kept, written)
        action = decide(
            wanted=True, exists=have is not None, differs=bool(differences), last=last, settled=_is_said(entry, last)
        )
        if action is None:
            return None
        fields, causes = self._told(action, differences, want, entry, last)
        title = want.fields.get("title") or (have.fields.get("title") if have else None) or want.key.identifier
        return Change(
            n=0,
            target="entity",
            action=action,
            blueprint=want.key.blueprint,
            identifier=want.key.identifier,
            title=str(title),
            fields=fields,
            reason=wanted_reason(action, last) if want.source else "stub",
            cause=causes[0],
            source=giver_of((f.path for f in fields), want, last),
            ledger=entry,
            causes=causes,
        )

    def would_be(self, want: DesiredEntity, last: LedgerEntry | None, *, new: bool) -> Fields:
        """What an entity would be, as the ledger tells it; one that is `new` with what is left alone later."""
        have = None if new else self.facts.existing.entities.get(want.key)
        last = last and self.left_alone.as_left(last, have, want.rules)
        target, kept = self._target(want, last)
        return kept | (target if new else self.left_alone.without_ignored(want.key, want.rules, target, have)[1])

    def _entry(
        self, want: DesiredEntity, have: ExistingEntity | None, last: LedgerEntry | None, kept: Fields, written: Fields
    ) -> LedgerEntry:
        fields = kept | written
        protect = (last is not None and last.protect) or protected(want.key, self.policy)
        origin = self.ownership.origin(want.key, have, last)
        end = self.ownership.on_remove(want.rules)
        paths = tuple(sorted(fields))
        held = filled(paths, map(fields.__getitem__, paths))
        parts = added_to(last, have.fields if have else {}, paths) if origin == "adopted" else _NO_PARTS
        portions = noted_portions(want, last, kept)
        return _in_order_of(last, LedgerEntry(held, origin, want.rules, want.source, protect, end, parts, portions))

    def _target(self, want: DesiredEntity, last: LedgerEntry | None) -> tuple[Fields, Fields]:
        """What Port's fields shall be (None clears), and what the ledger keeps without it being compared."""
        paths = self.managed_paths.get(want.key.blueprint, frozenset())
        target = {path: value for path, value in want.fields.items() if path in paths}
        if not self._merges(want.rules):
            target = {**{p: None for p in paths if "." in p and p not in want.unknown}, **target}
        target = self.normalise[want.key.blueprint](target)
        kept: Fields = {}
        if last is None:
            return target, kept
        for path, value in last.fields.items():
            if path in target or path not in paths:
                continue
            if path in want.unknown or not self._leaves(path, want, last):
                kept[path] = value
            elif not was_there(last, path):
                target[path] = None
        return target, kept

    def keeps(self, new: EntityKey, old: EntityKey, path: str) -> bool:
        """Whether what an entity holds under a path stays as it is when it becomes another one.

        As if it kept its identifier: what is left alone stays, mapped or not; what is mapped is written; what left the
        mapping goes; what nobody maps stays, unless a mapping replaces whole entities.
        """
        want, last = self.desired[new], self.facts.ledger.entities[old]
        if path in want.unknown or self.left_alone.covers(want.rules, path):
            return True
        if path in want.fields:
            return False
        if "." in path and not self._merges(want.rules):
            return False
        return path not in last.fields or was_there(last, path) or not self._leaves(path, want, last)

    def inside(self, new: EntityKey, path: str, value: Json, held: Json) -> Json:
        """A value of the new one, with what the old one holds at places inside it that are left alone."""
        return self.left_alone.inside(self.desired[new].rules, path, value, held).value

    def remembers(self, new: EntityKey, old: EntityKey) -> Collection[str]:
        """The paths that nothing maps at the moment, and that are ours all the same, as if it kept its identifier."""
        return self._target(self.desired[new], self.facts.ledger.entities[old])[1].keys()

    def _leaves(self, path: str, want: DesiredEntity, last: LedgerEntry) -> bool:
        """Whether a path that we wrote has left the mapping, or the records that gave it have gone.

        It has not where another rule wrote it before, of a record that is still there.
        """
        if not self.writers(want.key.blueprint, path):
            return True
        given = givers(last, path)
        if want.source and given and set(given).isdisjoint(sources_of(want)):
            return True
        before = self.facts.ledger.expressions
        return bool(want.source) and any(path in before.get(rule, {}) for rule in want.rules)

    def _told(
        self,
        action: Action,
        differences: Sequence[Difference],
        want: DesiredEntity,
        entry: LedgerEntry,
        last: LedgerEntry | None,
    ) -> tuple[Sequence[FieldChange], tuple[Cause, ...]]:
        """The field changes and the causes of all; what is new has those of its rules and paths."""
        if action != "create" or last is not None:
            fields = tuple(self._field(difference, want, last) for difference in differences)
            return fields, self._causes(action, fields, entry, last)
        paths, afters = (tuple(map(itemgetter(index), differences)) for index in (0, 2))
        return self._told_new(want, paths, afters)

    def _told_new(
        self, want: DesiredEntity, paths: tuple[str, ...], afters: tuple[Json, ...]
    ) -> tuple[FieldChanges, tuple[Cause, ...]]:
        """The fields of something new, from null to these values."""
        made = want.rules, paths
        if made not in self._new:
            differences = map(Difference, paths, repeat(None), afters)
            self._new[made] = self._told_anew([self._field(each, want, None) for each in differences], want.rules)
        like, causes = self._new[made]
        return like.from_nothing(afters), causes

    def _told_anew(self, fields: Iterable[FieldChange], rules: Iterable[str]) -> tuple[FieldChanges, tuple[Cause, ...]]:
        """The fields and the causes of what comes: what makes it come brings each of its values as well."""
        anew = self._anew(rules)
        causes = [("catalog",) if anew == "catalog" else all_causes(each.cause, (anew,)) for each in fields]
        told = FieldChanges(replace(f, cause=of[0], causes=of) for f, of in zip(fields, causes, strict=True))
        return told, all_causes(anew, (cause for each in told for cause in each.causes))

    def _anew(self, rules: Iterable[str]) -> Cause:
        """Why an entity comes of some rules, as far as the expressions tell."""
        return "catalog" if any(map(self._selection_is_new, rules)) else "source"

    def _field(self, difference: Difference, want: DesiredEntity, last: LedgerEntry | None) -> FieldChange:
        path, before, after = difference
        applied = self.left_alone.inside(want.rules, path, last.fields.get(path), before).value if last else None
        drift = last is not None and not same(before, applied) and spoke_of(self.facts.ledger, last, path)
        replacing = None if path in want.fields else self._replacing(want.rules)
        if replacing is not None and applied is None and after is None:
            return self._replaced(difference, replacing, drift=drift)
        note = REPLACED if replacing else _given_no_more(path, want, last)
        origin, by_catalog = self._written_by(want.rules if want.source else (), path)
        if by_catalog and last is not None and path not in want.fields:
            origin, by_catalog = self._lost_with(path, want, last) or (origin, by_catalog)
        if drift and same(applied, after):
            return FieldChange(path, before, after, "drift", origin, drift=True, note=note, causes=("drift",))
        if by_catalog:
            cause: Cause = "catalog"
        elif last is not None and self.facts.ledger.tool and self.facts.ledger.tool != self.facts.tool:
            cause = "tool"
        else:
            cause = "source"
        causes: tuple[Cause, ...] = (cause, "drift") if drift else (cause,)
        return FieldChange(path, before, after, cause, origin, drift=drift, note=note, causes=causes)

    def cause_of(self, difference: Difference, want: DesiredEntity, last: LedgerEntry) -> FieldChange:
        """A field that we cease to own, with why; who edited it in Port has no part in that."""
        field = self._field(difference, want, last)
        causes = tuple(cause for cause in field.causes if cause != "drift") or ("catalog",)
        return replace(field, drift=False, cause=causes[0], causes=causes)

    def _replaced(self, difference: Difference, rule: MappingRule, *, drift: bool) -> FieldChange:
        """What goes because a rule replaces whole entities: the catalog's doing if it did not when last applied."""
        path, before, after = difference
        cause: Cause = "drift" if drift and "$merge" in self.facts.ledger.expressions.get(rule.id, {}) else "catalog"
        drift = cause == "drift"
        origin = str(rule.merge_origin or "")
        return FieldChange(path, before, after, cause, origin, drift=drift, note=REPLACED, causes=(cause,))

    def _merges(self, rules: Iterable[str]) -> bool:
        """Whether what these rules do not map stays as it is in Port."""
        return self._replacing(rules) is None

    def _replacing(self, rules: Iterable[str]) -> MappingRule | None:
        """The first of these rules that replaces whole entities."""
        return next((self.rules[rule] for rule in rules if rule in self.rules and not self.rules[rule].merge), None)

    def _written_by(self, rules: tuple[str, ...], path: str) -> tuple[str, bool]:
        """Where the expression of a path stands, and whether it is another one than was last applied."""
        told = self._paths.get((rules, path))
        if told is None:
            rule = next((r for r in rules if r in self.rules and path in self.rules[r].fields), None)
            origin = str(self.rules[rule].fields[path].origin) if rule else ""
            told = self._paths[rules, path] = origin, rule is None or self._expression_is_new(rule, path)
        return told

    def _lost_with(self, path: str, want: DesiredEntity, last: LedgerEntry) -> tuple[str, bool] | None:
        """The same of a path that records gave which make the entity no longer; None where there are none."""
        lost = lost_of(last, want) if want.source and path in last.fields else ()
        rules = (rule for source, made in makers(last) if source in lost for rule in made)
        rule = next((r for r in rules if r in self.rules and path in self.rules[r].fields), None)
        if rule is None:
            return None
        anew = self._expression_is_new(rule, path) or self._selection_is_new(rule)
        return str(self.rules[rule].fields[path].origin), anew

    def _expression_is_new(self, rule: str, path: str) -> bool:
        before = self.facts.ledger.expressions.get(rule, {})
        now = self.facts.expressions.get(rule, {})
        return any(before.get(part) != now.get(part) for part in (path, "$items"))

    def _selection_is_new(self, rule: str) -> bool:
        before = self.facts.ledger.expressions.get(rule, {})
        now = self.facts.expressions.get(rule, {})
        parts = ("$query", "$selector", "$identifier", "$blueprint", "$items")
        return any(before.get(part) != now.get(part) for part in parts)

    def _causes(
        self, action: Action, fields: Iterable[FieldChange], entry: LedgerEntry, last: LedgerEntry | None
    ) -> tuple[Cause, ...]:
        """The causes of a change as far as the expressions tell them, the main one first."""
        anew = self._anew(entry.rules)
        if last is not None and action == "adopt":
            return self._ledger_causes(entry, last, anew)
        main = "drift" if last is not None and action == "create" else main_cause(fields, anew)
        return all_causes(main, (cause for field in fields for cause in field.causes))

    def _ledger_causes(self, entry: LedgerEntry, last: LedgerEntry, anew: Cause) -> tuple[Cause, ...]:
        """Why only the ledger moves: Port already has what is desired, by somebody else, or it never concerned Port."""
        paths = entry.fields.keys() | last.fields.keys()
        moved = [path for path in paths if not same(entry.fields.get(path), last.fields.get(path))]
        found: set[Cause] = {"catalog" if self._written_by(entry.rules, path)[1] else "source" for path in moved}
        spoken = [path for path in moved if spoke_of(self.facts.ledger, last, path)]
        if any(path in entry.fields or not was_there(last, path) for path in spoken):
            found.add("drift")
        if makers(entry) != makers(last):
            found.add(anew)
        return tuple(cause for cause in CAUSES if cause in found) or ("catalog",)

    def _unwanted(
        self, key: EntityKey, action: Action, last: LedgerEntry, have: ExistingEntity | None, *, left: bool
    ) -> Change:
        current = [rule for rule in last.rules if rule in self.rules]
        by_catalog = not current or all(map(self._selection_is_new, current))
        gone = "left-window" if left else "gone-from-source"
        unmapped = by_catalog and not (left and current)  # what tells its age says more than that something changed
        reason = "gone-from-port" if have is None else "unmapped" if unmapped else gone
        absence: Cause = "catalog" if by_catalog else "source"
        causes: tuple[Cause, ...] = ("drift", absence) if have is None else (absence,)
        held = have.fields if have else {}
        needed = _required_paths(self.blueprints.get(key.blueprint))
        # A delete takes everything: what was there is kept in the plan, so that it can be brought back.
        # Without a title nobody would know what is left.
        ours = {p for p in last.fields if p != "title" and not was_there(last, p)} if action == "release" else set()
        going = {"release": ours - needed, "delete": held.keys()}.get(action, set())
        kept: Fields = self._left_inside(last, held) if action == "release" else {}
        cleared = sorted(path for path in going if held.get(path) is not None and not same(held[path], kept.get(path)))
        fields = tuple(FieldChange(path, held[path], kept.get(path), absence, causes=causes) for path in cleared)
        title = str(held.get("title") or last.fields.get("title") or key.identifier)
        return Change(0, "entity", action, *key, title, fields, reason, causes[0], source=last.source, causes=causes)

    def _left_inside(self, last: LedgerEntry, held: Fields) -> Fields:
        """What stays of values that are cleared, because it is left alone."""
        return {path: self.left_alone.inside(last.rules, path, None, held.get(path)).value for path in last.fields}


def _is_said(entry: LedgerEntry, last: LedgerEntry | None) -> bool:
    """Whether the ledger says already what it would say afterwards; in Python alone true equals 1."""
    return last is not None and entry == last and same(dict(entry.fields), dict(last.fields))


def _in_order_of(last: LedgerEntry | None, entry: LedgerEntry) -> LedgerEntry:
    """An entry with the same rules in another order, which means nothing, in the order that the ledger has them in."""
    if last is None or entry.rules == last.rules or _unordered(entry) != _unordered(last):
        return entry
    return replace(entry, rules=last.rules, portions=last.portions)


def _unordered(entry: LedgerEntry) -> Json:
    return sorted(entry.rules), [(each.source, sorted(each.rules), each.paths) for each in entry.portions]


def _given_no_more(path: str, want: DesiredEntity, last: LedgerEntry | None) -> str:
    """Which of several records gave a path that goes; empty where no single one did."""
    if last is None or not last.portions or path in want.fields:
        return ""
    lost = [source for source in givers(last, path) if source in lost_of(last, want)]
    return f"{lost[0]} {GIVEN_NO_MORE}" if lost else ""


def _required_paths(blueprint: Blueprint | None) -> set[str]:
    """Paths that Port does not let be empty."""
    if blueprint is None:
        return set()
    relations = {f"relations.{name}" for name, definition in blueprint.relations.items() if definition.get("required")}
    return relations | {f"properties.{name}" for name in blueprint.required}
