"""The same record under another identifier: made anew, followed by what points at it, and only then removed.

Port keeps an entity's identifier in every relation to it, so a new identifier is a new entity.  When a mapping changes
its identifier, or a record its own, the old entity has a *successor*: the one that the same rule makes of the same
record now.  Then

    the successor is created       with what Port holds of the old one beyond what is mapped: nothing is lost
    what is ours and points at it  is written with the new identifier, also what no record speaks of at the moment
    the old one is removed         once all that is done, and not before

The two halves are a create and a delete, each with the other's identifier as its `twin`, so that applying and resuming
know nothing of renames.  A record that is there proves that its old entity is to go: such a delete is no loss, and does
not count against a limit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson

from pdsync.errors import some_of, warning
from pdsync.model import Change, DesiredEntity, EntityKey, FieldChange, Held, makers, sources_of
from pdsync.plan.decide import main_cause
from pdsync.plan.order import relation_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from pdsync.errors import Diagnostic
    from pdsync.model import Blueprint, Cause, Fields, FieldsView, Json, LedgerEntry
    from pdsync.plan.decide import Facts

    Moves = Mapping[EntityKey, EntityKey]
    """The key of what goes -> the key of what comes in its place."""

RENAMED = "identifier-changed"
FOLLOWS = "follows"
TO_NOTHING = "what it points at is not there: not carried over"


class Inheritance(Protocol):
    """What an entity hands down to its successor."""

    def keeps(self, new: EntityKey, old: EntityKey, path: str) -> bool:
        """Whether what the old one holds under a path stays as it is on the new one."""
        ...

    def inside(self, new: EntityKey, path: str, value: Json, held: Json) -> Json:
        """A value of the new one, with what the old one holds at places inside it that are left alone."""
        ...

    def remembers(self, new: EntityKey, old: EntityKey) -> Collection[str]:
        """The paths that nothing maps at the moment, and that are ours all the same."""
        ...


class _Claim(NamedTuple):
    source: str
    rule: str
    blueprint: str


def successors(facts: Facts) -> dict[EntityKey, EntityKey]:
    """Keys of ours that nothing makes any more -> the key that the same rule makes of the same record now.

    Of a rule with items several entities come from one record: there, only if the identifier's expression is another
    one, an entity is taken for the one that has the same values, if there is only one on either side.  Of several
    records that make several entities now, the one that gave most of it counts.  A record of which nothing is known at
    the moment proves nothing: what it is assumed to make may be something else by now, and what it made be there still.
    """
    return {old: min(ways, key=lambda new: (-ways[new], new)) for old, ways in _ways(facts).items()}


def standing_in(moves: Moves, existing: Container[EntityKey]) -> dict[EntityKey, str]:
    """What comes in the place of another -> the identifier of that one, where that is there until the end."""
    return {new: old.identifier for old, new in sorted(moves.items(), reverse=True) if old in existing}


def splits(facts: Facts, covers: Callable[[EntityKey], bool]) -> list[Diagnostic]:
    """Entities of several records that make several others now: which of these is taken for it, and what that means."""
    parted = [
        (old, ways)
        for old, ways in sorted(_ways(facts).items())
        if len(ways) > 1 and old in facts.existing.entities and covers(old)
    ]
    chosen = successors(facts) if parted else {}
    return [_split(old, chosen[old], ways, facts.ledger.entities[old]) for old, ways in parted]


def _split(old: EntityKey, new: EntityKey, ways: Collection[EntityKey], last: LedgerEntry) -> Diagnostic:
    others = sorted({*ways} - {new})
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    named = ", ".join(map(str, others[:_NAMED])) + more
    return warning(
        "PD619",
        "the records of one entity make several now",
        detail=f"{old} becomes {new}, which gets what people set on it and what points at it; besides it comes {named}",
        hint="what should point at the others is for their mappings to say, or to be set in Port",
        **some_of(sources_of(last)),
    )


_NAMED = 5


def _ways(facts: Facts) -> dict[EntityKey, Mapping[EntityKey, int]]:
    """Keys of ours that nothing makes any more -> what their records make now, each with how many fields those gave."""
    gone = facts.ledger.entities.keys() - facts.desired.entities.keys() - facts.desired.held.keys()
    old = _claims((key, facts.ledger.entities[key]) for key in gone)
    sources = {claim.source for claim in old}
    came = (
        (key, want)
        for key, want in facts.desired.entities.items()
        if want.source in sources or (want.portions and not sources.isdisjoint(sources_of(want)))
    )
    new = _claims(came) if sources else {}
    many = {rule.id for rule in facts.catalog.rules if rule.items is not None}
    ways: defaultdict[EntityKey, Counter[EntityKey]] = defaultdict(Counter)
    for claim in sorted(old.keys() & new.keys()):
        pairs: Moves = {}
        if claim.rule in many:
            pairs = _alike(old[claim], new[claim], facts) if _identifier_is_new(claim.rule, facts) else {}
        elif len(new[claim]) == 1:
            pairs = dict.fromkeys(old[claim], new[claim][0])
        for key, successor in pairs.items():
            ways[key][successor] += _given(claim.source, facts.ledger.entities[key])
    return dict(ways)


def _given(source: str, last: LedgerEntry) -> int:
    """How many fields of an entity a record gave."""
    return next((len(portion.paths) for portion in last.portions if portion.source == source), len(last.fields))


def _claims(entities: Iterable[tuple[EntityKey, LedgerEntry | DesiredEntity]]) -> dict[_Claim, list[EntityKey]]:
    claims: defaultdict[_Claim, list[EntityKey]] = defaultdict(list)
    for key, entity in entities:
        assumed = entity.assumed if isinstance(entity, DesiredEntity) else ()
        for source, rules in makers(entity):
            for rule in rules if source not in assumed else ():
                claims[_Claim(source, rule, key.blueprint)].append(key)
    return {claim: sorted(keys) for claim, keys in claims.items()}


def _identifier_is_new(rule: str, facts: Facts) -> bool:
    before, now = facts.ledger.expressions.get(rule, {}), facts.expressions.get(rule, {})
    return before.get("$identifier") != now.get("$identifier")


def _alike(old: list[EntityKey], new: list[EntityKey], facts: Facts) -> dict[EntityKey, EntityKey]:
    fresh = [key for key in new if key not in facts.ledger.entities]
    was = _by_values(old, lambda key: facts.ledger.entities[key].fields)
    now = _by_values(fresh, lambda key: facts.desired.entities[key].fields)
    return {keys[0]: now[v][0] for v, keys in was.items() if len(keys) == 1 and len(now.get(v, ())) == 1}


def _by_values(keys: Iterable[EntityKey], fields: Callable[[EntityKey], FieldsView]) -> dict[bytes, list[EntityKey]]:
    grouped: defaultdict[bytes, list[EntityKey]] = defaultdict(list)
    for key in keys:
        said = {path: value for path, value in fields(key).items() if value is not None}
        grouped[orjson.dumps(said, option=orjson.OPT_SORT_KEYS)].append(key)
    return grouped


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided so far: creates, updates and adopts, removals, and what is held."""

    upserts: Sequence[Change]
    removals: Sequence[Change]
    held: Sequence[Held] = ()


def with_renames(
    decided: Decided,
    moves: Moves,
    facts: Facts,
    blueprints: Mapping[str, Blueprint],
    inheritance: Inheritance,
    *,
    staying: AbstractSet[EntityKey] = frozenset(),
) -> Decided:
    """The same with what goes linked to what comes in its place, and with what points at it following.

    `moves` are the `successors`, `blueprints` those in force after the plan, `staying` those of the removals that are
    known to be withheld.  What is to go stays for now while its successor is neither there nor among the upserts: it is
    held when that is held, else (the successor is out of scope) not spoken of.
    """
    if not moves:
        return decided
    renames = _Renames(decided, facts, blueprints, inheritance, staying)
    return renames.planned({old: new for old, new in moves.items() if old in renames.going})


class _Renames:
    """The renames of one plan under way."""

    def __init__(
        self,
        decided: Decided,
        facts: Facts,
        blueprints: Mapping[str, Blueprint],
        inheritance: Inheritance,
        staying: AbstractSet[EntityKey],
    ) -> None:
        self.decided = decided
        self.facts = facts
        self.blueprints = blueprints
        self.inheritance = inheritance
        self.staying = staying
        self.made = {change.key: change for change in decided.upserts}
        # What is only forgotten stays in Port, under its old identifier.
        self.going = {change.key: change for change in decided.removals if change.action != "forget"}
        self.moves: dict[EntityKey, EntityKey] = {}

    def planned(self, moves: Moves) -> Decided:
        """The decisions with these moves made."""
        self.moves = {old: new for old, new in moves.items() if self._is_there(new)}
        held = {held.key for held in self.decided.held}
        stuck = [Held(*old, f"its record makes {new} now, which is held") for old, new in moves.items() if new in held]
        twins = {new: old for old, new in sorted(self.moves.items(), reverse=True) if self._is_made(new)}
        for new, old in twins.items():
            self.made[new] = self._successor(self.made[new], old)
        self._follow()
        removals = [
            self._going(change) for change in self.decided.removals if change.key not in moves.keys() - self.moves
        ]
        return Decided([self.made[key] for key in sorted(self.made)], removals, (*self.decided.held, *stuck))

    def _is_there(self, new: EntityKey) -> bool:
        return new in self.made or (new in self.facts.ledger.entities and new in self.facts.existing.entities)

    def _is_made(self, new: EntityKey) -> bool:
        return new in self.made and self.made[new].action == "create"

    # --- the two halves

    def _going(self, change: Change) -> Change:
        new = self.moves.get(change.key)
        if new is None:
            return change
        return replace(change, reason=RENAMED, twin=new.identifier)

    def _successor(self, change: Change, old: EntityKey) -> Change:
        """A create with what the old entity holds: as the values before, and carried over where that is kept."""
        going, holds, new = self.going[old], self._holds(old), change.key
        fields = [self._after(each, holds.get(each.path), new, old) for each in change.fields]
        spoken = {each.path for each in fields}
        carried = [
            self._kept(FieldChange(path, value, value, going.cause, note="carried over", causes=(going.cause,)), new)
            for path, value in sorted(holds.items())
            if path not in spoken and value is not None and self.inheritance.keeps(new, old, path)
        ]
        fields += [*carried, *self._left_inside(new, holds, spoken | {each.path for each in carried}, going.cause)]
        remembered = self.inheritance.remembers(new, old)
        ours = {each.path: each.after for each in carried if each.path in remembered and each.after is not None}
        owned = change.ledger.fields if change.ledger else {}
        ours |= {each.path: each.after for each in fields if each.path in owned and each.path.startswith("properties.")}
        entry = change.ledger and replace(change.ledger, fields=dict(sorted({**change.ledger.fields, **ours}.items())))
        twin = old.identifier if going.action == "delete" else ""
        return replace(change, fields=tuple(fields), reason=RENAMED, cause=going.cause, ledger=entry, twin=twin)

    def _after(self, each: FieldChange, before: Json, new: EntityKey, old: EntityKey) -> FieldChange:
        if before is not None and self.inheritance.keeps(new, old, each.path):
            return self._kept(replace(each, before=before, after=before, note="left alone"), new)
        return replace(each, before=before, after=self.inheritance.inside(new, each.path, each.after, before))

    def _left_inside(
        self, new: EntityKey, holds: Fields, spoken: Container[str], cause: Cause
    ) -> Iterator[FieldChange]:
        """Of values that are not carried over the places that are left alone."""
        for path, value in sorted(holds.items()):
            left = None if path in spoken else self.inheritance.inside(new, path, None, value)
            if left is not None:
                yield FieldChange(path, value, left, cause, note="left alone", causes=(cause,))

    def _kept(self, field: FieldChange, key: EntityKey) -> FieldChange:
        """A field that stays as it is, but for a relation to nothing: Port may hold one, and takes none."""
        after = self._there(key.blueprint, field.path, field.after)
        return field if after == field.after else replace(field, after=after, note=TO_NOTHING)

    def _there(self, blueprint: str, path: str, value: Json) -> Json:
        """A relation's value without what is not there, as far as that is known; any other value as it is."""
        relations = self.blueprints[blueprint].relations if blueprint in self.blueprints else {}
        target = str(relations.get(path.removeprefix("relations."), {}).get("target"))
        if not path.startswith("relations.") or target not in self.facts.catalog.blueprints:
            return value
        listed = value if isinstance(value, list) else [value]
        left = [each for each in listed if not isinstance(each, str) or self._will_be(EntityKey(target, each))]
        return left if isinstance(value, list) else next(iter(left), None)

    def _will_be(self, key: EntityKey) -> bool:
        known = self.facts.existing
        return key in known.entities or key in known.known_targets or key in self.made

    def _holds(self, old: EntityKey) -> Fields:
        """What Port holds of an entity, with relations as they will be: to what comes, and not to what goes."""
        blueprint = self.blueprints.get(old.blueprint)
        held = self.facts.existing.entities[old].fields
        known = {*(blueprint.meta if blueprint else ())}
        known |= {f"properties.{name}" for name in (blueprint.properties if blueprint else ())}
        targets = {
            f"relations.{name}": str(r["target"]) for name, r in (blueprint.relations if blueprint else {}).items()
        }
        fields = {path: value for path, value in held.items() if path in known}
        return fields | {path: self._moved(held[path], targets[path]) for path in targets.keys() & held.keys()}

    # --- what points at it

    def _moved(self, value: Json, target: str) -> Json:
        """A relation's value with identifiers that move replaced, and without those that go for good."""
        listed = value if isinstance(value, list) else [value]
        keys = [EntityKey(target, each) for each in listed if isinstance(each, str)]
        left = [self.moves.get(key, key).identifier for key in keys if key in self.moves or not self._goes(key)]
        return left if isinstance(value, list) else next(iter(left), None)

    def _goes(self, key: EntityKey) -> bool:
        return key in self.going and key not in self.staying and self.going[key].action == "delete"

    def _follow(self) -> None:
        """What is ours, stays, and is not desired at the moment (its record is not listed) points at what comes."""
        owned, existing = self.facts.ledger.entities, self.facts.existing.entities
        going = self.going.keys() - self.staying
        for key in sorted((owned.keys() & existing.keys()) - self.facts.desired.entities.keys() - going):
            blueprint = self.blueprints.get(key.blueprint)
            ours = {path: existing[key].fields.get(path) for path in owned[key].fields}
            # What is withheld itself is not made to point at its own successor.
            moved = {path for path, target in relation_targets(ours, blueprint) if target in self.moves.keys() - {key}}
            # What becomes a stub loses its relations in the same plan.
            moved -= {field.path for field in self.made[key].fields} if key in self.made else set()
            if moved and blueprint:
                self.made[key] = self._follower(key, sorted(moved), blueprint)

    def _follower(self, key: EntityKey, paths: Sequence[str], blueprint: Blueprint) -> Change:
        last, have = self.facts.ledger.entities[key], self.facts.existing.entities[key]
        fields = []
        for path in paths:
            target = str(blueprint.relations[path.removeprefix("relations.")]["target"])
            before = have.fields[path]
            moved = [each for _, each in relation_targets({path: before}, blueprint) if each in self.moves]
            after = self._there(key.blueprint, path, self._moved(before, target))
            cause = self.going[moved[0]].cause
            fields.append(FieldChange(path, before, after, cause, causes=(cause,)))
        change = self.made.get(key)
        spoken = (*(change.fields if change else ()), *fields)
        entry = (change.ledger if change else None) or last
        title = str(have.fields.get("title") or key.identifier)
        return Change(
            n=0,
            target="entity",
            action="update",
            blueprint=key.blueprint,
            identifier=key.identifier,
            title=title,
            fields=spoken,
            reason=FOLLOWS,
            cause=main_cause(spoken, "catalog"),
            source=last.source,
            ledger=replace(entry, fields={**entry.fields, **{each.path: each.after for each in fields}}),
        )


def unlinked(upserts: Iterable[Change], removals: Iterable[Change]) -> list[Change]:
    """The upserts, those whose other half does not happen as plain creates."""
    halves = {change.key: change.twin for change in removals if change.action == "delete" and change.twin}

    def alone(change: Change) -> Change:
        if change.reason != RENAMED or halves.get(EntityKey(change.blueprint, change.twin)) == change.identifier:
            return change
        return replace(change, twin="", fields=tuple(replace(each, before=None) for each in change.fields))

    return [alone(change) for change in upserts]
