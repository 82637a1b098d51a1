"""What reads a part of a blueprint from elsewhere: mirror properties and inherited ownership, each along its path.

Port lets no part go, get another name or be made anew while such a path runs through it.  So a reader is taken away
before and put back afterwards, along the new name where there is one.  That of a blueprint which the plan deletes is
taken away first of all.  Where nobody could put it back, because the part goes for good or the reader stands in a
blueprint that is not ours, the part stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from pdsync.model import Change, FieldChange
from pdsync.plan.decide import is_system
from pdsync.plan.parts import origin_of, stays

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import Blueprint, Json
    from pdsync.plan.decide import Facts, Scope

MIRRORS = "mirrorProperties."
OWNERSHIP = "ownership"
COMPUTED = (MIRRORS, OWNERSHIP, "calculationProperties.", "aggregationProperties.")
"""What is taken away before what it may be worked out of."""
READ = ("schema.properties.", MIRRORS, "calculationProperties.", "aggregationProperties.")
"""What a path may end at, beside what every entity has."""
ANEW = "made anew with what it reads"
FIRST = "goes before what it reads"


class Part(NamedTuple):
    """A part of a blueprint by its path there, such as `relations.team` or `schema.properties.tier`."""

    blueprint: str
    path: str

    def __str__(self) -> str:
        """As people name it: `service.team`."""
        return f"{self.blueprint}.{self.path.rsplit('.', 1)[-1]}"


def in_the_way(
    part: Part, facts: Facts, scope: Scope, leaving: AbstractSet[str] = frozenset(), *, for_good: bool
) -> list[Part]:
    """What reads a part and would neither go nor be put back, sorted.

    `for_good`: nothing comes in the part's place; `leaving` are blueprints that go as a whole.
    """
    readers = _by_part(facts.existing.blueprints)
    return sorted(
        reader
        for reader in readers.get(part, ())
        if not _goes_first(reader, leaving, readers, facts, scope)
        and not _is_helped(reader, facts, scope, for_good=for_good)
    )


def _by_part(blueprints: Mapping[str, Blueprint]) -> Mapping[Part, list[Part]]:
    found: dict[Part, list[Part]] = {}
    for reader, read in _readers(blueprints):
        for part in {*read.values()}:
            found.setdefault(part, []).append(reader)
    return found


def _goes_first(
    reader: Part, leaving: AbstractSet[str], readers: Mapping[Part, list[Part]], facts: Facts, scope: Scope
) -> bool:
    """Whether a reader goes before all updates: its blueprint does, and what reads the reader goes before that."""
    return reader.blueprint in leaving and all(
        other.blueprint in leaving or _is_dropped(other, facts, scope) for other in _reading(reader, readers)
    )


def _reading(reader: Part, readers: Mapping[Part, list[Part]]) -> set[Part]:
    """What reads a reader, directly or along others."""
    found, waiting = set[Part](), [reader]
    while waiting:
        fresh = [other for other in readers.get(waiting.pop(), ()) if other not in found and other != reader]
        found.update(fresh)
        waiting += fresh
    return found


def _is_dropped(reader: Part, facts: Facts, scope: Scope) -> bool:
    """Whether a reader of ours goes for good, from a blueprint that stays."""
    wanted, last = facts.catalog.blueprints.get(reader.blueprint), facts.ledger.blueprints.get(reader.blueprint)
    if wanted is None or last is None or is_system(reader.blueprint) or not scope.covers_blueprint(reader.blueprint):
        return False
    ours = reader.path in last.fields and origin_of(last, reader.path) == "created"
    return ours and value_of(reader, wanted) is None


def _is_helped(reader: Part, facts: Facts, scope: Scope, *, for_good: bool) -> bool:
    wanted, last = facts.catalog.blueprints.get(reader.blueprint), facts.ledger.blueprints.get(reader.blueprint)
    if wanted is None or is_system(reader.blueprint) or not scope.covers_blueprint(reader.blueprint):
        return False
    goes = last is not None and reader.path in last.fields and origin_of(last, reader.path) == "created"
    return goes or value_of(reader, wanted) is not None or not for_good


def with_readers(changes: Iterable[Change], facts: Facts) -> list[Change]:
    """Changes of blueprints with what has to be taken away for them and put back, in these changes or some beside."""
    by_name = {change.blueprint: change for change in changes}
    blueprints = facts.existing.blueprints
    touched = facts.catalog.blueprints.keys() | {name for name, each in by_name.items() if each.action == "delete"}
    ours = [(reader, read) for reader, read in _readers(blueprints) if reader.blueprint in touched]
    while True:
        going = _going(by_name.values())
        found = [(reader, read) for reader, read in ours if reader not in going and going.keys() & set(read.values())]
        if not found:
            return [by_name[name] for name in sorted(by_name)]
        taken = _coming(by_name.values())
        for reader, read in found:
            change = by_name.get(reader.blueprint) or _beside(reader.blueprint, facts)
            names = _along(read, going, taken if _is_as_wanted(reader, facts) else frozenset())
            by_name[reader.blueprint] = _anew(change, reader, names, blueprints)


def _going(changes: Iterable[Change]) -> dict[Part, str]:
    """Parts that go, get another name or are made anew -> the name in their place, empty where there is none."""
    going: dict[Part, str] = {}
    for change in changes:
        for each in change.fields if change.action in ("update", "delete") else ():
            if each.moved_from:
                going[Part(change.blueprint, each.moved_from)] = each.path.rsplit(".", 1)[-1]
            elif each.replace or (each.after is None and each.before is not None):
                going[Part(change.blueprint, each.path)] = each.path.rsplit(".", 1)[-1] if each.replace else ""
    return going


def _coming(changes: Iterable[Change]) -> frozenset[str]:
    """Parts that come, by the names that paths have for them."""
    fields = ((change.blueprint, each) for change in changes if change.action == "update" for each in change.fields)
    return frozenset(_step(Part(name, each.path)) for name, each in fields if each.before is None or each.moved_from)


def _step(part: Part) -> str:
    """What a path calls a part, with its blueprint: relations have names of their own, all else shares them."""
    return (
        f"{part.blueprint}.{'relations.' if part.path.startswith('relations.') else ''}{part.path.rsplit('.', 1)[-1]}"
    )


def _is_as_wanted(reader: Part, facts: Facts) -> bool:
    """Whether the catalog names a reader just as it is."""
    wanted, there = facts.catalog.blueprints.get(reader.blueprint), facts.existing.blueprints[reader.blueprint]
    return wanted is not None and value_of(reader, wanted) == value_of(reader, there)


def _along(read: Mapping[int, Part], going: Mapping[Part, str], taken: AbstractSet[str]) -> dict[int, str]:
    """Step of a path -> its name afterwards, for those that get another one; not where the name is `taken` anew."""
    return {step: going[part] for step, part in read.items() if going.get(part) and _step(part) not in taken}


def _anew(change: Change, reader: Part, names: Mapping[int, str], blueprints: Mapping[str, Blueprint]) -> Change:
    """The change with a reader taken away first; one that it does not speak of comes back as it was, if it stays."""
    spoken = {each.path: each for each in change.fields}
    if change.action == "delete":
        before = value_of(reader, blueprints[reader.blueprint])
        told = FieldChange(reader.path, before, None, change.cause, note=FIRST, causes=(change.cause,))
    elif reader.path in spoken:
        told = replace(spoken[reader.path], replace=True)
    else:
        before = value_of(reader, blueprints[reader.blueprint])
        after = _renamed(before, names)
        told = FieldChange(reader.path, before, after, "catalog", replace=True, note=ANEW, causes=("catalog",))
    fields = {**spoken, reader.path: told}
    is_written = change.action in ("update", "delete")
    action, reason = (change.action, change.reason) if is_written else ("update", "changed")
    return replace(change, action=action, reason=reason, fields=tuple(fields[path] for path in sorted(fields)))


def _renamed(value: Json, names: Mapping[int, str]) -> Json:
    steps = [names.get(n, step) for n, step in enumerate(value["path"].split("."))]
    return {**value, "path": ".".join(steps)}


def _beside(blueprint: str, facts: Facts) -> Change:
    """An update of a blueprint that nothing else happens to."""
    entry = facts.ledger.blueprints[blueprint]
    title = str(entry.fields.get("title") or blueprint)
    return Change(0, "blueprint", "update", blueprint, blueprint, title, (), "changed", "catalog", ledger=entry)


# --- paths -------------------------------------------------------------------------------------------------------


def _readers(blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[Part, dict[int, Part]]]:
    """Each reader with the parts that it reads, by the step of its path."""
    for name, blueprint in blueprints.items():
        for mirror, definition in (blueprint.definition.get("mirrorProperties") or {}).items():
            steps = str(definition.get("path", "")).split(".")
            yield Part(name, MIRRORS + mirror), _read(name, steps[:-1], steps[-1], blueprints)
        ownership = blueprint.definition.get(OWNERSHIP) or {}
        if ownership.get("type") == "Inherited":
            yield Part(name, OWNERSHIP), _read(name, str(ownership.get("path", "")).split("."), "", blueprints)


def _read(start: str, steps: Sequence[str], last: str, blueprints: Mapping[str, Blueprint]) -> dict[int, Part]:
    here: Blueprint | None = blueprints[start]
    found: dict[int, Part] = {}
    for number, step in enumerate(steps):
        if here is None or step not in here.relations:
            return found
        found[number] = Part(here.identifier, f"relations.{step}")
        here = blueprints.get(str(here.relations[step].get("target")))
    parts = (Part(here.identifier, prefix + last) for prefix in READ) if here and last else ()
    end = next((part for part in parts if here and value_of(part, here) is not None), None)
    return {**found, len(steps): end} if end else found


def value_of(part: Part, blueprint: Blueprint) -> Json:
    """What a blueprint says under a part; None where it has none."""
    value: Json = blueprint.definition
    for step in part.path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def clearing(changes: Iterable[Change], there: Mapping[str, Blueprint]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """In which order what blueprints compute is taken away: what reads something of it before that.

    `there` are the blueprints as Port has them; what a delete takes away last of all (`deferred`) is not among it.
    """
    going = {
        Part(change.blueprint, each.path): change.n
        for change in changes
        if change.target == "blueprint" and change.action in ("update", "delete")
        for each in change.fields
        if each.path.startswith(COMPUTED)
        and not each.deferred
        and not stays(each)
        and (each.replace or each.after is None)
    }
    waits: dict[Part, set[Part]] = {part: set() for part in going}
    for reader, read in _readers(there):
        for part in read.values() if reader in going else ():
            if part in going and part != reader:
                waits[part].add(reader)
    steps: list[tuple[int, tuple[str, ...]]] = []
    while waits:
        free = [part for part, readers in waits.items() if not readers & waits.keys()] or [*waits]
        by_number: dict[int, list[str]] = {}
        for part in sorted(free, key=lambda part: (going[part], part)):
            by_number.setdefault(going[part], []).append(part.path)
        steps += [(n, tuple(paths)) for n, paths in by_number.items()]
        for part in free:
            del waits[part]
    return tuple(steps)


def readers_last(changes: Sequence[Change], blueprints: Mapping[str, Blueprint]) -> list[Change]:
    """The changes in their order, but each after those of blueprints whose computed properties its mirrors read."""
    by_name = {change.blueprint: change for change in changes}
    reads: dict[str, set[str]] = {}
    for name, other, _ in read_along(blueprints):
        reads.setdefault(name, set()).add(other)
    ordered: dict[str, Change] = {}

    def place(name: str, above: AbstractSet[str]) -> None:
        for other in sorted(reads.get(name, set()) & by_name.keys() - above):
            if other not in ordered:  # where two ways lead to one, it is gone through once
                place(other, above | {other})
        ordered.setdefault(name, by_name[name])

    for change in changes:
        place(change.blueprint, {change.blueprint})
    return list(ordered.values())


def read_along(blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[str, str, str]]:
    """Each blueprint that reads what another one computes, with that one and the path of the reader."""
    for reader, read in _readers(blueprints):
        for part in read.values():
            if part.path.startswith(READ[1:]):
                yield reader.blueprint, part.blueprint, reader.path
