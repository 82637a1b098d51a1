"""Changes of a blueprint that would lose values: what saves them, and what waits until it is allowed by name.

Port keeps the type of a property and the target of a relation for good, and with a part all its values go.  So a
blueprint's fields are looked at once more, with the entities that hold values:

    | change                                | planned as                                                            |
    |---------------------------------------|-----------------------------------------------------------------------|
    | a part goes, its like comes           | rename, when the policy says so or both have the same jq expression   |
    | type, list or not, target, many -> one| removed and made anew; values are written again, or converted         |
    | a part goes                           | removed; a value that is not ours is a loss                           |
    | a part becomes required               | as asked; an entity that would lack it stands in the way              |

What would lose values is left out and named with the number of entities, until `--allow-breaking BLUEPRINT.PART=N`
says that very number.  What something that is not ours reads is left out, too (`pdsync.plan.readers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pdsync.model import Change, EntityKey, FieldChange, Guard
from pdsync.normal import blueprint_fields, defaults_of, same
from pdsync.plan.alone import LeftAlone
from pdsync.plan.convert import converter
from pdsync.plan.decide import is_system, writers
from pdsync.plan.parts import was_there, with_names
from pdsync.plan.readers import Part, in_the_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pdsync.model import (
        Blueprint,
        ExistingEntity,
        Fields,
        FieldsView,
        Json,
        Ledger,
        LedgerEntry,
    )
    from pdsync.plan.decide import Facts, Scope

    Unfilled = AbstractSet[tuple[EntityKey, str]]

PARTS = {"schema.properties.": "properties.", "relations.": "relations."}
"""The parts of a blueprint that entities hold values of: prefix of its path, prefix of the entities' path."""
BREAKING = "breaking-change"
REQUIRED = "schema.required"
ONE_NAME = {
    "schema.properties": "a property",
    "mirrorProperties": "a mirror property",
    "calculationProperties": "a calculation property",
    "aggregationProperties": "an aggregation property",
}
"""Kinds of parts of which a blueprint has only one of a name: entities hold all their values as properties."""
NAMED = 5
"""What reads a part is named, up to so many."""


@dataclass(frozen=True, slots=True)
class Migration:
    """What becomes of one blueprint's fields: those to write, what is refused, and the entities' paths concerned.

    `moved` maps the entities' old path to the new one; values under `dropped` go and are written again; `many` are
    relations that become lists, or single, whose values Port keeps in the new form.
    """

    fields: tuple[FieldChange, ...]
    guards: tuple[Guard, ...] = ()
    moved: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    many: Mapping[str, bool] = field(default_factory=dict)

    @property
    def touches_values(self) -> bool:
        """Whether entities are not as they were once the blueprint is changed."""
        return bool(self.moved or self.dropped or self.many)

    def carried(self, fields: FieldsView) -> Fields:
        """Values under the names and in the form that they have afterwards."""
        named = ((self.moved.get(path, path), value) for path, value in fields.items())
        return {path: _reshaped(value, many=self.many.get(path)) for path, value in named}

    def carried_entry(self, entry: LedgerEntry) -> LedgerEntry:
        """What the ledger says of an entity, afterwards."""
        return with_names(entry, dict(sorted(self.carried(entry.fields).items())), self.moved)


def _reshaped(value: Json, *, many: bool | None) -> Json:
    if many is None or value is None or isinstance(value, list) is many:
        return value
    return [value] if many else value[0] if len(value) == 1 else value


def entity_path(path: str) -> str:
    """The path under which entities hold the values of a blueprint's part; empty when they hold none."""
    return next((own + path.removeprefix(part) for part, own in PARTS.items() if path.startswith(part)), "")


def migrated(
    blueprint: str,
    fields: Sequence[FieldChange],
    facts: Facts,
    scope: Scope,
    leaving: AbstractSet[str] = frozenset(),
    *,
    unfilled: Unfilled = frozenset(),
) -> Migration:
    """One blueprint's fields, with what would lose values saved or left out.

    `leaving` are blueprints that go, `unfilled` what is mapped and will not be written all the same.
    """
    holders = _Holders(blueprint, facts, unfilled)
    renames = [
        rename
        for rename in _renames(blueprint, fields, facts)
        if not in_the_way(Part(blueprint, rename.moved_from), facts, scope, leaving, for_good=False)
    ]
    gone = {rename.moved_from for rename in renames}
    told = {rename.path: rename for rename in renames}
    moved = {entity_path(each.moved_from): entity_path(each.path) for each in renames}
    holders.renamed = {new: old for old, new in moved.items()}
    kept: list[FieldChange] = []
    guards: list[Guard] = []
    for each in fields:
        if each.path in gone:
            continue
        change = told.get(each.path) or _weighed(each, holders, moved)
        lost, why = _loss(change, holders)
        if other := _other_kind(change, fields, facts.existing.blueprints[blueprint]):
            guards.append(Guard(BREAKING, blueprint, other))
        elif reading := _reading(change, blueprint, facts, scope, leaving):
            guards.append(_read_guard(blueprint, change, reading, facts))
        elif change.replace and is_system(blueprint):
            guards.append(Guard(BREAKING, blueprint, f"{_said(change)}: {_LOCKED}"))
        elif lost and scope.allow_breaking.get(f"{blueprint}.{part_name(each.path)}") != lost:
            guards.append(_guard(blueprint, change, lost, why))
            kept += _without_loss(change)
        else:
            kept.append(_noted(change, holders))
    dropped = frozenset(entity_path(each.path) for each in kept if each.replace) - {""}
    return Migration(tuple(kept), tuple(guards), moved, dropped, _turned(kept))


def unfilled_by(changes: Iterable[Change], facts: Facts, migrations: Mapping[str, Migration]) -> Unfilled:
    """What is mapped of parts that are made anew or become required, and that no change writes.

    Only a whole plan tells: an entity may be held, for whatever reason, its value be left out, or it be out of scope.
    """
    stake = {name: paths for name, each in migrations.items() if (paths := _to_be_written(each))}
    if not stake:
        return frozenset()
    written = {c.key: {f.path for f in c.fields} for c in changes if c.target == "entity" and c.blueprint in stake}
    found: set[tuple[EntityKey, str]] = set()
    for name, paths in stake.items():
        holders, old = _Holders(name, facts), {new: was for was, new in migrations[name].moved.items()}
        for path in paths:
            held = holders.of(old.get(path, path))
            found |= {
                (key, path)
                for key in holders.entities
                if (key in held) is (path in migrations[name].dropped)
                if holders.shall_hold(key, path) and path not in written.get(key, ())
            }
    return frozenset(found)


def _to_be_written(migration: Migration) -> set[str]:
    """The paths that entities lose, or must have from now on."""
    required = {f"properties.{name}" for each in migration.fields if each.path == REQUIRED for name in _added(each)}
    return {*migration.dropped, *required, *(entity_path(f.path) for f in migration.fields if _becomes_required(f))}


def _turned(fields: Iterable[FieldChange]) -> dict[str, bool]:
    """Paths of relations that stay and become lists (True), or single."""
    return {
        entity_path(each.path): bool(each.after.get("many"))
        for each in fields
        if each.path.startswith("relations.") and not each.replace
        if isinstance(each.before, dict) and isinstance(each.after, dict)
        if bool(each.before.get("many")) is not bool(each.after.get("many"))
    }


def paths_at_stake(changes: Iterable[Change]) -> dict[str, set[str]]:
    """Blueprint -> entity paths whose values decide what may be done to it: they have to be read from Port."""
    stake: dict[str, set[str]] = {}
    for change in changes:
        if change.target == "blueprint" and change.action == "update":
            found = {path for each in change.fields for path in _stake(each)}
            if found:
                stake.setdefault(change.blueprint, set()).update(found)
    return stake


def _stake(change: FieldChange) -> Iterator[str]:
    path = entity_path(change.path)
    if path and change.before is not None and (change.after is None or _shape(change.path, change)):
        yield path
    elif change.path == REQUIRED:
        yield from (f"properties.{name}" for name in _added(change))
    elif path and _becomes_required(change):
        yield path


# --- what a field of a blueprint does to values -----------------------------------------------------------------


def _shape(path: str, change: FieldChange) -> bool:
    """Whether Port would refuse to make the one definition of the other in place."""
    before, after = change.before, change.after
    if not isinstance(before, dict) or not isinstance(after, dict):
        return False
    if path.startswith("relations."):
        return before.get("target") != after.get("target")
    return _type(before) != _type(after)


def _type(definition: Mapping[str, Json]) -> tuple[Json, Json, bool]:
    items = definition.get("items")
    inner = items.get("type") if isinstance(items, dict) else None
    return definition.get("type"), inner, definition.get("format") == "labeled-url"


def _becomes_single(change: FieldChange) -> bool:
    before, after = change.before, change.after
    several = isinstance(before, dict) and isinstance(after, dict) and change.path.startswith("relations.")
    return bool(several and before.get("many") and not after.get("many"))


def _becomes_required(change: FieldChange) -> bool:
    before, after = change.before, change.after
    asked = change.path.startswith("relations.") and isinstance(after, dict) and after.get("required")
    return bool(asked and not (isinstance(before, dict) and before.get("required")))


def _added(change: FieldChange) -> list[str]:
    return sorted(set(change.after or ()) - set(change.before or ()))


class _Holders:
    """The entities of one blueprint, and what they hold."""

    def __init__(self, blueprint: str, facts: Facts, unfilled: Unfilled = frozenset()) -> None:
        self.blueprint = blueprint
        self.facts = facts
        self._unfilled = unfilled
        existing = facts.existing.entities
        self.renamed: Mapping[str, str] = {}
        """New path of a part -> the one under which entities hold its values."""
        self._written = writers(facts.catalog.rules)
        self._left_alone = LeftAlone(facts.catalog.rules)
        wanted = facts.catalog.blueprints.get(blueprint)
        self._defaults = defaults_of(wanted) if wanted else {}
        self.entities: dict[EntityKey, ExistingEntity] = {k: e for k, e in existing.items() if k.blueprint == blueprint}

    def of(self, path: str) -> dict[EntityKey, Json]:
        """The values that entities hold under a path."""
        values = ((key, entity.fields.get(path)) for key, entity in self.entities.items())
        return {key: value for key, value in values if value is not None}

    def theirs(self, path: str) -> list[EntityKey]:
        """The entities whose value under a path is not the one that we put there."""
        return [key for key, value in self.of(path).items() if not is_ours(self.facts.ledger, key, path, value)]

    def unwritten(self, path: str) -> dict[EntityKey, Json]:
        """The values that no mapping writes again, and that do not go with a mapping that is gone."""
        kept = {key: value for key, value in self.of(path).items() if not self._wants(key, path)}
        return {key: kept[key] for key in kept.keys() - self.leaving(path)}

    def lost(self, path: str, definition: Json) -> list[EntityKey]:
        """The entities whose value nobody writes again, and that cannot be carried over to a new definition."""
        convert = converter(definition) if path.startswith("properties.") else None
        values = self.unwritten(path).items()
        carried = {key for key, value in values if convert and convert(value) is not None}
        return [key for key, _ in values if key not in carried or (key, path) in self._unfilled]

    def shall_hold(self, key: EntityKey, path: str) -> bool:
        """Whether the mappings give an entity a value under a path."""
        return self._wanted(key, path) is not None

    def emptied(self, path: str) -> list[EntityKey]:
        """The entities whose value goes because their mapping gives none any more."""
        return [key for key in self.of(path) if self._wants(key, path) and self._wanted(key, path) is None]

    def leaving(self, path: str) -> frozenset[EntityKey]:
        """The entities whose value is ours, and that nothing in the catalog writes any more."""
        written = self._written(self.blueprint, path)
        return frozenset() if written else frozenset(self.of(path)).difference(self.theirs(path))

    def lacking(self, path: str) -> list[EntityKey]:
        """The entities that would have no value under a path."""
        held = self.of(self.renamed.get(path, path))
        return [key for key in self.entities if key not in held and self._wanted(key, path) is None]

    def _wants(self, key: EntityKey, path: str) -> bool:
        wanted = self.facts.desired.entities.get(key)
        if wanted is None or path not in wanted.fields or (key, path) in self._unfilled:
            return False
        return not self._left_alone.covers(wanted.rules, path)

    def _wanted(self, key: EntityKey, path: str) -> Json:
        if not self._wants(key, path):
            return None
        value = self.facts.desired.entities[key].fields[path]
        return self._defaults.get(path) if value is None else value


def is_ours(ledger: Ledger, key: EntityKey, path: str, value: Json) -> bool:
    """Whether a value is the one that we wrote last, where nothing was before."""
    entry = ledger.entities.get(key)
    return entry is not None and same(entry.fields.get(path), value) and not was_there(entry, path)


def _weighed(change: FieldChange, holders: _Holders, moved: Mapping[str, str]) -> FieldChange:
    """The field, marked to be made anew where Port does not change it in place."""
    path = entity_path(change.path)
    if not path or path in moved.values():
        return change
    several = any(isinstance(v, list) and len(v) > 1 for v in holders.of(path).values())
    return replace(change, replace=_shape(change.path, change) or (_becomes_single(change) and several))


def _loss(change: FieldChange, holders: _Holders) -> tuple[int, str]:
    """How many entities would lose a value or stand in the way, and what happens to them."""
    path = entity_path(change.path)
    if change.moved_from:
        return 0, ""
    if change.replace:
        return len(holders.lost(path, change.after)), "would lose a value that no mapping writes again"
    if path and change.after is None and change.before is not None:
        return len(holders.theirs(path)), "with a value that pdsync did not write"
    if change.path == REQUIRED:
        return _most_lacking([f"properties.{name}" for name in _added(change)], holders)
    if _becomes_required(change):
        return _most_lacking([path], holders)
    return 0, ""


def _most_lacking(paths: Iterable[str], holders: _Holders) -> tuple[int, str]:
    lacking = {key for path in paths for key in holders.lacking(path)}
    return len(lacking), "would lack a value that is to be required"


def _without_loss(change: FieldChange) -> list[FieldChange]:
    """What can be written of a field that is refused: a relation's other parts, never what loses values."""
    if change.replace or change.after is None or change.path == REQUIRED or not isinstance(change.after, dict):
        return []
    less = {**change.after, "required": False}
    return [] if same(less, change.before) else [replace(change, after=less)]


def _reading(change: FieldChange, blueprint: str, facts: Facts, scope: Scope, leaving: AbstractSet[str]) -> list[Part]:
    """What reads a part that goes or is made anew, and cannot be helped."""
    if change.before is None or change.moved_from or not (change.replace or change.after is None):
        return []
    return in_the_way(Part(blueprint, change.path), facts, scope, leaving, for_good=change.after is None)


def _other_kind(change: FieldChange, fields: Iterable[FieldChange], there: Blueprint) -> str:
    """Why a part cannot come: one of another kind has its name and stays; the empty text where it can."""
    kind, _, name = change.path.rpartition(".")
    if kind not in ONE_NAME or change.before is not None:
        return ""
    going = {each.moved_from or each.path for each in fields if each.moved_from or each.after is None}
    kept = blueprint_fields(there.definition).keys() - going
    other = next((what for of, what in ONE_NAME.items() if of != kind and f"{of}.{name}" in kept), "")
    return (
        f"{name} cannot be {ONE_NAME[kind]}: Port has {other} of that name, which stays; take another name"
        if other
        else ""
    )


_LOCKED = "Port does not promise that a part of its own blueprints can be taken away; use a new one"


def _read_guard(blueprint: str, change: FieldChange, reading: Sequence[Part], facts: Facts) -> Guard:
    named = ", ".join(map(str, reading[:NAMED])) + (f" and {len(reading) - NAMED} more" if reading[NAMED:] else "")
    verb = "reads" if len(reading) == 1 else "read"
    unwanted = facts.ledger.blueprints.keys() - facts.catalog.blueprints.keys()
    goes = {reader.blueprint for reader in reading} <= unwanted
    way_out = "plan again once that is deleted" if goes else "take that away in Port first"
    return Guard(BREAKING, blueprint, f"{_said(change)}: {named} {verb} it; {way_out}")


def _guard(blueprint: str, change: FieldChange, lost: int, why: str) -> Guard:
    name = part_name(change.path)
    flag = f"{_ALLOW} {blueprint}.{name}={lost}"
    who = "1 entity" if lost == 1 else f"{lost} entities"
    return Guard(BREAKING, blueprint, f"{_said(change)}: {who} {why}; {_way_out(change)}", flag)


_ALLOW = "--allow-breaking"


def allowing(guards: Iterable[Guard]) -> dict[str, int]:
    """What `Scope.allow_breaking` would have to be for these guards to let through what they can."""
    flags = (guard.flag.removeprefix(f"{_ALLOW} ").rpartition("=") for guard in guards if guard.flag.startswith(_ALLOW))
    return {name: int(number) for name, _, number in flags}


def _said(change: FieldChange) -> str:
    name = part_name(change.path)
    if change.path == REQUIRED:
        return f"{', '.join(_added(change))} {'become' if _added(change)[1:] else 'becomes'} required"
    if change.replace:
        return f"{name} changes from {_described(change.before)} to {_described(change.after)}"
    return f"{name} is removed" if change.after is None else f"{name} becomes required"


def _way_out(change: FieldChange) -> str:
    if change.path == REQUIRED or (change.after is not None and not change.replace):
        return "give them a value first"
    if change.replace:
        return "map it for them, or use a new property"
    return "say policy.renames if it only has another name"


def _described(definition: Json) -> str:
    if not isinstance(definition, dict):
        return "nothing"
    if "target" in definition:
        return f"{'many ' if definition.get('many') else ''}{definition['target']}"
    kind, inner, _ = _type(definition)
    return f"{kind} of {inner}" if inner else str(kind)


def _noted(change: FieldChange, holders: _Holders) -> FieldChange:
    """The field with the number of entities that it concerns."""
    path = entity_path(change.path)
    held = len(holders.of(entity_path(change.moved_from) or path))
    if change.path == "ownership" and (teams := _teams_lost(change, holders)):
        return replace(
            change, note=f"the teams of {'1 entity' if teams == 1 else f'{teams} entities'} are inherited then"
        )
    if not (change.moved_from or change.replace or (path and change.after is None)):
        return change
    verb = "renamed" if change.moved_from else "made anew" if change.replace else "removed"
    return replace(
        change, note=f"{verb}, {_what_happens(change, held, holders) if held else 'no entity holds a value'}"
    )


def _teams_lost(change: FieldChange, holders: _Holders) -> int:
    """How many entities have a team of their own that counts no more."""
    before, after = (isinstance(v, dict) and v.get("type") == "Inherited" for v in (change.before, change.after))
    return len(holders.of("team")) if after and not before else 0


def _what_happens(change: FieldChange, held: int, holders: _Holders) -> str:
    if change.moved_from:
        return f"{_values(held)} kept"
    if not change.replace:
        return f"{_values(held)} lost with it"
    path = entity_path(change.path)
    lost, going, emptied = len(holders.lost(path, change.after)), len(holders.leaving(path)), len(holders.emptied(path))
    unwritten = len(holders.unwritten(path))
    told = [f"{_values(held - unwritten - going - emptied)} written again"]
    told += [f"{unwritten - lost} carried over"] if unwritten > lost else []
    told += [f"{lost} lost"] if lost else []
    told += [f"{emptied} emptied, as mapped"] if emptied else []
    return ", ".join([*told, f"{going} of ours gone with their mapping"] if going else told)


def _values(count: int) -> str:
    return f"{count} value" if count == 1 else f"{count} values"


def part_name(path: str) -> str:
    """A part of a blueprint as guards and `--allow-breaking` name it."""
    return "required" if path == REQUIRED else path.rsplit(".", 1)[-1]


# --- renames ----------------------------------------------------------------------------------------------------


def _renames(blueprint: str, fields: Sequence[FieldChange], facts: Facts) -> list[FieldChange]:
    """The parts that only get another name: told by the policy, or one that went and one that came, mapped alike."""
    gone = {each.path: each for each in fields if entity_path(each.path) and each.after is None}
    came = {each.path: each for each in fields if entity_path(each.path) and each.before is None}
    told = facts.catalog.project.policy.renames.get(blueprint, {})
    pairs = [
        (old, new)
        for old in gone
        for new in came
        if old.rpartition(".")[0] == new.rpartition(".")[0]
        and _like(gone[old], came[new])
        and (told.get(part_name(old)) == part_name(new) or _mapped_alike(entity_path(old), entity_path(new), facts))
    ]
    return [
        replace(came[new], before=gone[old].before, moved_from=old)
        for old, new in pairs
        if sum(old == o for o, _ in pairs) == 1 and sum(new == n for _, n in pairs) == 1
    ]


def renamed_by_name(existing: Fields, wanted: Fields, renames: Mapping[str, str]) -> set[str]:
    """The paths of parts that Port has and that the policy's renames of their blueprint give another name."""
    gone = {
        path: path.rpartition(".")[0] + "." + renames[part_name(path)]
        for path in existing
        if part_name(path) in renames
    }
    return {
        old
        for old, new in gone.items()
        if entity_path(old) and old not in wanted and new in wanted and new not in existing
        if _like(FieldChange(old, existing[old], None, "catalog"), FieldChange(new, None, wanted[new], "catalog"))
    }


def _like(gone: FieldChange, came: FieldChange) -> bool:
    """Whether the definitions are of one shape, so that values fit."""
    both = replace(came, before=gone.before)
    return not _shape(came.path, both) and not _becomes_single(both)


def _mapped_alike(old: str, new: str, facts: Facts) -> bool:
    """Whether a rule now writes the new path with the very expression that wrote the old one."""
    before, now = facts.ledger.expressions, facts.expressions
    texts = [(before.get(rule, {}).get(old), paths.get(new), old in paths) for rule, paths in now.items()]
    return any(was is not None and was == text and not still for was, text, still in texts)
