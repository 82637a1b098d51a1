"""Nothing is planned that Port would refuse: values, required ones, and what relations point at.

An entity with such a value is *held*: it stays as it is, the problem is an error with its record and the line of its
mapping, and the rest of the plan goes on.  With `policy.invalid: drop-field` only the value is left out, which keeps
Port's; what an entity cannot do without holds it all the same.  What relates to an entity that is held before it could
be created waits with it, or goes without the relation where that is optional.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import filterfalse, islice
from typing import TYPE_CHECKING

from pdsync.errors import Diagnostic, Origin, error, some_of, warning
from pdsync.model import Change, Expression, FieldChanges, Held, Json
from pdsync.normal import desired_normaliser
from pdsync.pasting import in_yaml
from pdsync.plan.alone import LeftAlone
from pdsync.plan.circles import required_circles
from pdsync.plan.decide import is_system
from pdsync.plan.order import Pointers
from pdsync.plan.portions import givers
from pdsync.plan.values import checks_of, classes_of, correction, doubts_of, json_type, patterns_of, required_paths
from pdsync.plan.wording import shown

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

    from pdsync.model import Blueprint, EntityKey, MappingRule
    from pdsync.plan.decide import Facts

REFUSED, LACKING, ASKED, DOUBTED, BEYOND, CIRCULAR = "PD610", "PD611", "PD612", "PD613", "PD614", "PD615"
REAL = "PD617"
_IN_CIRCLE = "is required in a circle"
OUT_OF_SCOPE = "is not in the scope of this plan"
_NAMED = 5
_EQUAL_IF_SAME = {str, bool, int, float}
"""Classes of values of which equal ones are one value."""

_LOOKED_AT = 1000
"""Of what an expression gives, so many values are looked at to see what it gives beside a wrong one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The changes that Port would take, the entities that are held instead, and what is wrong with them.

    `unchanged` counts updates of which nothing was left.
    """

    changes: list[Change]
    held: list[Held]
    unchanged: int
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One value that Port would refuse: why, and whether the entity cannot do without it.

    Of one that is `doubted` it is not known whether Port does: that is said, and it is written all the same.  One that
    is `dropped` is left out, and the rest of its entity is written.
    """

    path: str
    reason: str
    vital: bool
    value: Json = None
    told: bool = False
    doubted: bool = False
    dropped: bool = False


def check_upserts(
    upserts: Iterable[Change],
    facts: Facts,
    blueprints: Mapping[str, Blueprint],
    beyond: Container[EntityKey] = frozenset(),
    standing: Container[EntityKey] = frozenset(),
) -> Checked:
    """Creates and updates of entities, without what would be refused; `blueprints` are those in force afterwards.

    What is `beyond` is desired, too, but out of the scope of this plan; what is `standing` comes in the place of
    another one that is there.
    """
    listed = list(upserts)
    drop = facts.catalog.project.policy.invalid == "drop-field"
    problems = _Problems(facts, blueprints)
    kept, held = _by_their_values(listed, facts, blueprints, problems, drop=drop)
    for circle in required_circles(kept, blueprints, standing):
        problems.add_circle([(kept[key], path) for key, path in circle])
        held |= {key: Held(*key, f"{path} {_IN_CIRCLE}: {_round(circle)}") for key, path in circle}
        for key, _ in circle:
            del kept[key]
    for change, refusal in _follow_relations(kept, held, facts, blueprints, beyond, drop=drop):
        problems.add(change, refusal)
    unchanged = len(listed) - len(kept) - len(held)
    told = (*problems.diagnostics(), *_real_people(kept.values()))
    return Checked(list(kept.values()), [held[key] for key in sorted(held)], unchanged, told)


def _by_their_values(
    upserts: Sequence[Change], facts: Facts, blueprints: Mapping[str, Blueprint], problems: _Problems, *, drop: bool
) -> tuple[dict[EntityKey, Change], dict[EntityKey, Held]]:
    """What may be written, without values that are to be dropped, and what is held for one; all of these are told."""
    told = _refusals(upserts, blueprints)
    kept: dict[EntityKey, Change] = {}
    held: dict[EntityKey, Held] = {}
    if not told and not facts.refused:
        return {change.key: change for change in upserts}, held
    for change in upserts:
        found = told.get(change.key, ())
        refusals = [refusal for refusal in found if not refusal.doubted]
        if why := facts.refused.get(change.key):
            refusals.append(Refusal("", why, vital=True))
        goes_without = drop and not any(refusal.vital for refusal in refusals)
        for refusal in refusals:
            problems.add(change, replace(refusal, dropped=goes_without))
        for refusal in (refusal for refusal in found if refusal.doubted):
            problems.add(change, refusal)
        if not refusals:
            kept[change.key] = change
        elif goes_without:
            left = _without(change, {r.path for r in refusals}, facts)
            kept |= {change.key: left} if left else {}
        else:
            held[change.key] = Held(*change.key, _said(refusals))
    return kept, held


def _refusals(upserts: Iterable[Change], blueprints: Mapping[str, Blueprint]) -> dict[EntityKey, tuple[Refusal, ...]]:
    """What Port would refuse of which entity."""
    of: defaultdict[str, list[Change]] = defaultdict(list)
    for change in upserts:
        of[change.blueprint].append(change)
    rulers = ((Ruler(blueprints[name]), changes) for name, changes in of.items() if name in blueprints)
    return {change.key: found for ruler, changes in rulers for change, found in ruler.refusals(changes)}


def _real_people(changes: Iterable[Change]) -> Iterator[Diagnostic]:
    """What is made in Port's own blueprints is no mere entry of a catalog, and is said to be more."""
    made: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.action == "create" and is_system(change.blueprint):
            made[change.blueprint].append(change)
    for name, creates in sorted(made.items()):
        listed = ", ".join(str(change.key) for change in creates[:_NAMED])
        more = f" and {len(creates) - _NAMED} more" if len(creates) > _NAMED else ""
        yield warning(
            REAL,
            "what is made here are real users and teams of Port",
            detail=f"{name}: {len(creates)} to create, {listed}{more}; users are invited, and nothing deletes them",
            hint="to only point at those that are there, relate to them and leave the mapping out",
        )


class Ruler:
    """The checks of one blueprint."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._checks = checks_of(blueprint)
        self._doubts = doubts_of(blueprint)
        self._classes = classes_of(blueprint)
        self._patterns = patterns_of(blueprint)
        self._required = required_paths(blueprint)

    def refusals(self, changes: Iterable[Change]) -> Iterator[tuple[Change, tuple[Refusal, ...]]]:
        """Each change with what of it Port would refuse, where that is anything.

        Those that write the same fields are looked at together, field by field: hardly ever is one to be refused.
        """
        alike: defaultdict[tuple[tuple[str, ...], bool], list[tuple[Change, tuple[Json, ...]]]] = defaultdict(list)
        for change in changes:
            assert isinstance(change.fields, FieldChanges)
            paths, _, values, _ = change.fields.columns()
            alike[paths, change.action == "create"].append((change, values))
        for (paths, created), each in alike.items():
            if not self._all_sound(paths, [values for _, values in each], created=created):
                for change, values in each:
                    if refusals := tuple(self.of(paths, values, created=created)):
                        yield change, refusals

    def _all_sound(self, paths: tuple[str, ...], rows: Sequence[Sequence[Json]], *, created: bool) -> bool:
        """Whether nothing is to be said of any of these rows of values."""
        if created and any(path not in paths and not given for path, given in self._required.items()):
            return False
        needed = {path for path, given in self._required.items() if not (created and given)}
        columns = zip(paths, zip(*rows, strict=True), strict=True)
        return all(self._is_sound(path, values, may_lack=path not in needed) for path, values in columns)

    def _is_sound(self, path: str, values: Sequence[Json], *, may_lack: bool) -> bool:
        """Whether nothing is to be said of the values of one field; what is there many times is looked at once."""
        kinds = set(map(type, values)) - {type(None)}
        if not may_lack and None in values:
            return False
        if kinds <= {self._classes.get(path)}:
            return True
        distinct: Iterable[Json] = values
        if len(kinds) == 1 and kinds <= _EQUAL_IF_SAME:  # else 1 would be True
            distinct = set(values) - {None}
        if kinds == {str} and (pattern := self._patterns.get(path)):
            distinct = filterfalse(pattern.fullmatch, distinct)
        check, doubt = self._checks.get(path, _nothing), self._doubts.get(path, _nothing)
        return not any(value is not None and (check(value) or doubt(value)) for value in distinct)

    def of(self, paths: Sequence[str], values: Iterable[Json], *, created: bool) -> Iterator[Refusal]:
        """What Port would refuse of values that an entity gets: all there are where it is created."""
        for path, has_default in self._required.items() if created else ():
            if path not in paths and not has_default:
                yield Refusal(path, "it is required and has no value", vital=True)
        for path, value in zip(paths, values, strict=True):
            if value is None:
                if path in self._required and not (created and self._required[path]):
                    yield Refusal(path, "it is required and would be emptied", vital=False)
            elif (check := self._checks.get(path)) and (reason := check(value)):
                vital = created and path in self._required
                yield Refusal(path, reason, vital=vital, value=value, told=True)
            elif path in self._doubts and (reason := self._doubts[path](value)):
                yield Refusal(path, reason, vital=False, value=value, told=True, doubted=True)


def _nothing(_: Json) -> str:
    """Nothing is to be said."""
    return ""


def _round(circle: Sequence[tuple[EntityKey, str]]) -> str:
    """A circle as people follow it; of a long one, its beginning."""
    names = [str(key) for key, _ in circle]
    more = [f"({len(names) - _NAMED} more)"] if len(names) > _NAMED else []
    return " -> ".join([*names[:_NAMED], *more, names[0]])


def _said(refusals: Sequence[Refusal]) -> str:
    first, *others = refusals
    more = f"; and {len(others)} more of its values" if others else ""
    return f"Port would refuse {first.path or 'it'}: {first.reason}{more}"


def _without(change: Change, paths: set[str], facts: Facts) -> Change | None:
    """The change without some fields, which keep what Port has; None when nothing is left of an update.

    What was ours of them still is: it is cleared once it leaves the mapping, and with a release.
    """
    fields = tuple(field for field in change.fields if field.path not in paths)
    if change.action == "update" and not fields:
        return None
    entry = change.ledger
    if entry is not None:
        last = facts.ledger.entities.get(change.key)
        fields_before = last.fields if last else {}
        ours = {path: value for path, value in entry.fields.items() if path not in paths}
        ours |= {path: fields_before[path] for path in paths if path in fields_before}
        entry = replace(entry, fields=dict(sorted(ours.items())))
    return replace(change, fields=fields, ledger=entry)


# --- relations ---------------------------------------------------------------------------------------------------


def _follow_relations(
    kept: dict[EntityKey, Change],
    held: dict[EntityKey, Held],
    facts: Facts,
    blueprints: Mapping[str, Blueprint],
    beyond: Container[EntityKey],
    *,
    drop: bool,
) -> list[tuple[Change, Refusal]]:
    """Hold, or free of the relation, what points at an entity that will not be there; until nothing more follows.

    That a relation points at nothing has been said of all of them at once; here it is acted upon.  Given back is what
    is held only because the plan is limited.
    """
    limited: list[tuple[Change, Refusal]] = []
    there = facts.existing.entities.keys() | facts.existing.known_targets
    pointers = Pointers(blueprints)
    lost = True
    while lost:
        lost = False
        for change, missing in _pointing_nowhere(kept, pointers, there):
            follows = all(target in held or target in facts.desired.held for target in missing.values())
            if (follows or drop) and not _requires(blueprints.get(change.blueprint), missing):
                left = _without(change, set(missing), facts)
            else:
                left, lost = None, True
                path, target = next(iter(missing.items()))
                why = "is held itself" if follows else OUT_OF_SCOPE if target in beyond else "does not exist"
                held[change.key] = Held(*change.key, f"{path} points at {target}, which {why}")
                if why is OUT_OF_SCOPE:
                    limited.append((change, Refusal(path, why, vital=False, value=str(target))))
            if left is None:
                del kept[change.key]
            else:
                kept[change.key] = left
    return limited


def _pointing_nowhere(
    kept: Mapping[EntityKey, Change], pointers: Pointers, there: Container[EntityKey]
) -> Iterator[tuple[Change, dict[str, EntityKey]]]:
    """What points at what neither is there nor kept to be made, and by which paths; it may be taken out meanwhile."""
    sound: set[int] = set()  # what very many point at, which is one object
    for change in list(kept.values()):
        pointing = pointers.of(change)
        if id(pointing) in sound:
            continue
        missing = {path: target for path, target in pointing if target not in there and not _is_made(kept.get(target))}
        if missing:
            yield change, missing
        else:
            sound.add(id(pointing))


def _requires(blueprint: Blueprint | None, paths: Iterable[str]) -> bool:
    return blueprint is not None and not required_paths(blueprint).keys().isdisjoint(paths)


def _is_made(change: Change | None) -> bool:
    return change is not None and change.action == "create"


# --- what is said ------------------------------------------------------------------------------------------------


_NOT_IN_FORCE = (
    "the blueprint of the catalog takes it, but does not come into force: "
    "see what guards stop, or plan the blueprint as well"
)


class _Problems:
    """What is wrong, one diagnostic for each path and reason of a rule."""

    def __init__(self, facts: Facts, blueprints: Mapping[str, Blueprint]) -> None:
        self._rules = {rule.id: rule for rule in facts.catalog.rules}
        self._blueprints = blueprints
        self._wanted = facts.catalog.blueprints
        self._left_alone = LeftAlone(facts.catalog.rules)
        self._desired = facts.desired.entities
        self._found: defaultdict[tuple[str, str, bool, str], list[tuple[Change, Refusal]]] = defaultdict(list)
        self._circles: defaultdict[tuple[tuple[str, str], ...], list[list[tuple[Change, str]]]] = defaultdict(list)

    def add(self, change: Change, refusal: Refusal) -> None:
        """Note a refusal."""
        rule = self._rule(change, refusal.path)
        where = rule.id if rule else change.blueprint
        self._found[where, refusal.path, refusal.doubted, refusal.reason].append((change, refusal))

    def add_circle(self, circle: list[tuple[Change, str]]) -> None:
        """Note entities that require each other, each the next one by a path."""
        self._circles[tuple((change.blueprint, path) for change, path in circle)].append(circle)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All of it, in the order of the catalog; then circles, those of the same relations as one."""
        told = [self._told(*cases[0], cases) for _, cases in sorted(self._found.items(), key=lambda found: found[0])]
        return (*told, *(self._told_round(circles) for _, circles in sorted(self._circles.items(), key=lambda c: c[0])))

    def _told_round(self, circles: list[list[tuple[Change, str]]]) -> Diagnostic:
        circle = circles[0]
        origins = [_origin(self._rule(change, path), path) for change, path in circle]
        places = [place for place in dict.fromkeys(origins) if place is not None]
        relations = dict.fromkeys(f"{change.blueprint}.{path.partition('.')[2]}" for change, path in circle)
        among = f" (first of {len(circles):,} circles)" if len(circles) > 1 else ""
        return error(
            CIRCULAR,
            "entities require each other, so none can be the first",
            detail=f"{_round([(change.key, path) for change, path in circle])}, by {', '.join(relations)}{among}",
            origin=places[0] if places else None,
            related=tuple(places[1:]),
            hint="make one of these relations optional in its blueprint (required: false): it is then written last",
            **some_of(c.source or str(c.key) for each in circles for c, _ in each),
        )

    def _told(self, change: Change, refusal: Refusal, cases: list[tuple[Change, Refusal]]) -> Diagnostic:
        rule = self._rule(change, refusal.path)
        among = f" (first of {len(cases):,} entities)" if len(cases) > 1 else ""
        records = some_of(name for case in cases for name in _records(*case))
        if not refusal.path:
            detail = f"{change.key}: {refusal.reason}{among}"
            hint = "change the mapping or the blueprint; the message is Port's own"
            return error(ASKED, "Port says it would refuse this", detail=detail, hint=hint, **records)
        if refusal.reason is OUT_OF_SCOPE:
            return error(
                BEYOND,
                "relation points at an entity that this plan was told not to make",
                detail=f"{refusal.path} of {change.key}: {refusal.value} {refusal.reason}{among}",
                origin=_origin(rule, refusal.path),
                hint=f"plan that, too: --only '{refusal.value}'",
                **records,
            )
        value = f", it is {shown(refusal.value)}" if refusal.told else ""
        if refusal.doubted:
            return warning(
                DOUBTED,
                "Port may refuse a value, depending on how it counts characters",
                detail=f"{refusal.path} of {change.key}: {refusal.reason}{value}{among}",
                origin=_origin(rule, refusal.path),
                hint="characters such as emoji count as one or as two; `plan --validate-remote` asks Port",
                **records,
            )
        dropped = "; this value alone is left out" if refusal.dropped else ""
        return error(
            REFUSED if refusal.told else LACKING,
            "Port would refuse a value" if refusal.told else "a required value is missing",
            detail=f"{refusal.path} of {change.key}: {refusal.reason}{value}{among}{dropped}",
            origin=_origin(rule, refusal.path),
            hint=self._hint(rule, change, refusal),
            **records,
        )

    def _rule(self, change: Change, path: str) -> MappingRule | None:
        ids = change.ledger.rules if change.ledger else ()
        rules = [self._rules[rule] for rule in ids if rule in self._rules]
        return next((rule for rule in rules if path in rule.fields), rules[0] if rules else None)

    def _hint(self, rule: MappingRule | None, change: Change, refusal: Refusal) -> str:
        expression = rule.fields.get(refusal.path) if rule else None
        if not isinstance(expression, Expression):
            or_default = ", or give it a default" if refusal.path.startswith("properties.") else ""
            return "change the mapping or the schema" if refusal.told else f"map {refusal.path}{or_default}"
        if self._is_taken_by_the_catalog(change, refusal):
            return _NOT_IN_FORCE
        if not refusal.told:
            default = in_yaml(f'{expression.text} // "..."')
            return f"give it a value where the record has none: {default}"
        definition = _definition(self._blueprints[change.blueprint], refusal.path)
        meant = correction(definition, refusal.value, expression.text, self._beside(rule, change, refusal.path))
        hint = f"try: {in_yaml(meant)}" if meant else "change the expression, or the blueprint if the value is right"
        left = self._left_alone.names(change.ledger.rules, refusal.path) if change.ledger else ()
        kept = f"; {', '.join(left)} is left alone (ignore_changes), and so is as Port has it" if left else ""
        return hint + (kept if change.action == "update" else "")

    def _is_taken_by_the_catalog(self, change: Change, refusal: Refusal) -> bool:
        """Whether the blueprint as the catalog has it would take a value that the one in force does not."""
        wanted = self._wanted.get(change.blueprint)
        check = checks_of(wanted).get(refusal.path) if wanted is not None and refusal.told else None
        return check is not None and not check(refusal.value)

    def _beside(self, rule: MappingRule | None, change: Change, path: str) -> set[str]:
        """The JSON types of what a rule gives under a path for other records, as far as it is right."""
        blueprint = self._blueprints[change.blueprint]
        check, normal = checks_of(blueprint)[path], desired_normaliser(blueprint)
        made = (each for key, each in self._desired.items() if key.blueprint == change.blueprint)
        values = (each.fields[path] for each in made if rule and rule.id in each.rules and path in each.fields)
        looked_at = ((value, normal({path: value})[path]) for value in islice(values, _LOOKED_AT))
        return {json_type(value) for value, sent in looked_at if value is None or not check(sent)}


def _records(change: Change, refusal: Refusal) -> tuple[str, ...]:
    """The records behind a value; the key of what no record makes."""
    given = givers(change.ledger, refusal.path) if change.ledger else ()
    return given or (change.source or str(change.key),)


def _definition(blueprint: Blueprint, path: str) -> Mapping[str, Json]:
    part, _, name = path.partition(".")
    parts: Mapping[str, Mapping[str, Mapping[str, Json]]] = {
        "properties": blueprint.properties,
        "relations": blueprint.relations,
    }
    return parts.get(part, {}).get(name, {"type": "string"})


def _origin(rule: MappingRule | None, path: str) -> Origin | None:
    if rule is None:
        return None
    expression = rule.fields.get(path)
    return expression.origin if expression is not None else rule.origin
