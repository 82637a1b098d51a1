"""An answer -> the entities, the failure and the problems that it means."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pdsync.jq.cells import Cell, read_cell, shown
from pdsync.jq.evaluate import Unreadable, source_of
from pdsync.jq.problems import (
    BAD_BLUEPRINT,
    BAD_IDENTIFIER,
    BAD_ITEMS,
    BAD_SELECTOR,
    SEVERAL,
    UNAVAILABLE,
    UNREADABLE,
    WRONG_TYPE,
)
from pdsync.jq.program import BLUEPRINT, IDENTIFIER, ITEMS, SELECTOR, with_leaves
from pdsync.jq.reads import wanted_by
from pdsync.memo import keys_reader, rows_of
from pdsync.model import DesiredEntity, EntityKey, SearchQuery, lacking, unread
from pdsync.searching import Pending, Searched
from pdsync.sharing import filled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pdsync.jq.evaluate import Fault
    from pdsync.jq.problems import Problems
    from pdsync.jq.program import Layout
    from pdsync.model import Fields, Json, Record

_PLAIN_IDENTIFIER = re.compile(r"[A-Za-z0-9@_.+:\\/=-]+")
_PUNCTUATION = frozenset("0123456789@_.+:\\/=-")
_RESERVED = frozenset({".", ".."})
_IDENTIFIER_LENGTH = 1000
_SHARED_TEXTS = 2000
_EXACT_INTEGER = 2**53


@dataclass(frozen=True, slots=True)
class Unknown:
    """In the place of a value: it cannot be known, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """In the place of an identifier or a blueprint: the value is not one, and why."""

    reason: str


@dataclass(slots=True)
class Reading:
    """What one record gave: rows that the selector took, entities, and why something is missing ("" if nothing is).

    `pending` are the entities that wait for the answers to search queries.

    `silent` says that nothing at all was reported, so that the entities are whole, one for each row that was taken.
    """

    selected: int
    entities: list[DesiredEntity]
    failure: str = ""
    silent: bool = False
    pending: list[Pending] = field(default_factory=list)

    @property
    def rows(self) -> Iterator[list[Json]]:
        """Identifier, blueprint and values of each entity, of a search its query: what `Reader.recalled` takes."""
        for entity in self.entities:
            yield [entity.key.identifier, entity.key.blueprint, *entity.fields.values()]
        for each in self.pending:
            yield [_plain(each.identifier), each.blueprint, *map(_plain, each.fields.values())]


class Reader:
    """Reads the answers of one rule; reports to `problems`."""

    def __init__(self, layout: Layout, faults: Mapping[str, Fault], problems: Problems) -> None:
        self._layout = layout
        self._rule = layout.rule
        self._rules = (layout.rule.id,)
        self._faults = faults
        self._problems = problems
        self._searches = layout.searches
        self._simple = not self._searches and not faults
        names = (IDENTIFIER, BLUEPRINT, *layout.paths)
        self._checks = [(names.index(path), path, check) for path, check in _CHECKS.items() if path in names]
        self._names = names
        self._origins = {slot.name: slot.expression.origin for slot in layout.slots}
        self._spellings = {slot.name: slot.expression.text for slot in layout.slots}
        self._columns: list[tuple[int, dict[str, str]]] = [(n, {}) for n in range(1, len(names))]
        self._nothing_unknown: Mapping[str, str] = {}  # one for all entities
        self._nothing: Fields = {}
        self._recalled_keys = keys_reader(len(layout.paths))
        self._lacking_by_names: dict[tuple[tuple[str, str], ...], Mapping[str, Cell]] = {}
        self._silent = True
        self._id = ""
        for name, fault in faults.items():
            self._report(fault.code, name, fault.reason, fault.records)

    def read(self, record: Record, answer: Json) -> Reading:
        """What a record's answer means."""
        self._silent = True
        reading = self._read(record, answer)
        reading.silent = self._silent
        return reading

    def recalled(self, id_: str, outcome: bytes) -> Reading:
        """What was read from a record before, silently, as the memo has it.

        The values of a single entity are read once they are asked for.  Raises ValueError, TypeError or LookupError
        when they are not those of this rule.
        """
        source = source_of(self._layout, id_)
        if self._searches:
            waiting = [self._pending(values[1], values, source) for values in map(self._searching, rows_of(outcome))]
            return Reading(len(waiting), [], silent=True, pending=waiting)
        keys = self._recalled_keys(outcome)
        entities = []
        for keyed in keys:
            key = EntityKey(keyed.blueprint, id_ if keyed.identifier == id_ else keyed.identifier)
            entities.append(DesiredEntity(key, self._nothing, self._rules, source, self._nothing_unknown))
        if len(entities) == 1:
            unread(entities[0], self._recalled_fields, outcome)
        else:
            entities = [
                replace(entity, fields=self._filled(values))
                for entity, values in zip(entities, rows_of(outcome), strict=True)
            ]
        return Reading(len(entities), entities, silent=True)

    def recalled_whole(self, id_: str, outcome: bytes) -> Reading:
        """As `recalled`, with the values read at once: less work where they will be asked for anyway."""
        if self._searches:
            return self.recalled(id_, outcome)
        source = source_of(self._layout, id_)
        rows, entities = rows_of(outcome), []
        if not isinstance(rows, list):
            raise TypeError(rows)
        for values in rows:
            self._share(values)
            identifier, blueprint, *rest = values
            if not (isinstance(identifier, str) and isinstance(blueprint, str)):
                raise TypeError(values)
            key = EntityKey(blueprint, id_ if identifier == id_ else identifier)
            fields = filled(self._layout.paths, rest)
            entities.append(DesiredEntity(key, fields, self._rules, source, self._nothing_unknown))
        return Reading(len(entities), entities, silent=True)

    def _searching(self, values: list[Json]) -> list[Json]:
        """The values of a row with the queries in it as such."""
        if not (isinstance(values[0], str) and isinstance(values[1], str)):
            raise TypeError(values)
        self._share(values)
        for position, name in enumerate(self._names):
            if name in self._searches:
                values[position] = Searched.told(values[position])
        return values

    def _recalled_fields(self, outcome: bytes) -> Fields:
        return self._filled(rows_of(outcome)[0])

    def _filled(self, values: list[Json]) -> Fields:
        self._share(values)
        return filled(self._layout.paths, values[2:])

    def _read(self, record: Record, answer: Json) -> Reading:
        self._id = record.id
        source = source_of(self._layout, record.id)
        lacking = self._lacking(record)
        for name in (ITEMS, SELECTOR):
            if name in lacking:
                return self._failed(lacking[name].code, name, lacking[name].reason, source)
        if isinstance(answer, Unreadable):
            return self._failed(UNREADABLE, "record", answer.reason, source)
        items, rows = answer
        if items is not None and (failure := self._items_failure(items, source)):
            return Reading(0, [], failure)
        return self._read_rows(rows, source, lacking)

    def cells(self, row: Sequence[Json], record: Record) -> list[Cell]:
        """The cells of a row behind its selector, faults and missing enrichments in their places."""
        return self._cells(row, self._lacking(record))

    def _read_rows(self, rows: list[list[Json]], source: str, lacking: Mapping[str, Cell]) -> Reading:
        reading = Reading(0, [])
        for row in rows:
            selector = row[0]
            if selector == [[False]] and selector[0][0] is False:
                continue
            if len(row) == 1:
                reading.failure = reading.failure or self._selector_failure(read_cell(selector), source)
                continue
            reading.selected += 1
            outcome = self._entity(self._values(row, source, lacking), source)
            if isinstance(outcome, DesiredEntity):
                reading.entities.append(outcome)
            elif isinstance(outcome, Pending):
                reading.pending.append(outcome)
            else:
                reading.failure = reading.failure or outcome
        return reading

    def _values(self, row: list[Json], source: str, lacking: Mapping[str, Cell]) -> list[Json]:
        """The value of identifier, blueprint and every path: `Unknown` where there is none."""
        if self._simple and not lacking:
            cells = iter(row)
            next(cells)
            try:
                return [value for ((value,),) in cells]
            except (ValueError, TypeError):  # some cell is not one value
                pass
        cells_read = self._cells(row, lacking)
        return [self._value(path, cells_read[slice(*self._layout.spans[path])], source) for path in self._names]

    def _cells(self, row: Sequence[Json], lacking: Mapping[str, Cell]) -> list[Cell]:
        found: list[Cell] = []
        for slot, raw in zip(self._layout.cells, row[1:], strict=True):
            fault = self._faults.get(slot.name)
            if fault:
                found.append(Cell("error", reason=fault.reason))
            else:
                found.append(lacking.get(slot.name) or read_cell(raw))
        return found

    def _value(self, path: str, cells: list[Cell], source: str) -> Json:
        for cell in cells:
            if cell.state in ("error", "unknown"):
                self._report(cell.code, path, cell.reason, (source,))
                return Unknown(cell.reason)
            if cell.state == "several":
                self._report(SEVERAL, path, f"the first is {shown(cell.value)}", (source,))
        if path not in self._searches:
            return cells[0].value
        query = self._rule.identifier if path == IDENTIFIER else self._rule.fields[path]
        assert isinstance(query, SearchQuery)
        return Searched.of(with_leaves(query.rules, iter([cell.value for cell in cells])))

    def _entity(self, values: list[Json], source: str) -> DesiredEntity | Pending | str:
        """The entity, or why there is none."""
        for position, path, check in self._checks:
            reason = check(values[position])
            if reason:
                self._report(WRONG_TYPE, path, reason, (source,))
                values[position] = Unknown(reason)
        self._share(values)
        identifier = self._key_part(IDENTIFIER, values[0], source)
        blueprint = self._key_part(BLUEPRINT, values[1], source)
        for name, part in ((IDENTIFIER, identifier), (BLUEPRINT, blueprint)):
            if isinstance(part, Unusable):
                return f"{name}: {part.reason}"
        if self._searches:
            return self._pending(str(blueprint), values, source)
        # The record's own id, as nearly everywhere: one text for both.
        named = self._id if identifier == self._id else str(identifier)
        return self._built(EntityKey(str(blueprint), named), values[2:], source)

    def _pending(self, blueprint: str, values: list[Json], source: str) -> Pending:
        fields = dict(zip(self._layout.paths, values[2:], strict=True))
        unknown = {path: value.reason for path, value in fields.items() if isinstance(value, Unknown)}
        known = {path: value for path, value in fields.items() if path not in unknown}
        identifier = self._key_part(IDENTIFIER, values[0], source)
        assert not isinstance(identifier, Unusable)
        return Pending(blueprint, identifier, known, self._rules, source, unknown)

    def _built(self, key: EntityKey, values: list[Json], source: str) -> DesiredEntity:
        fields = filled(self._layout.paths, values)
        unknown = {path: value.reason for path, value in fields.items() if value.__class__ is Unknown}
        if not unknown:
            return DesiredEntity(key, fields, self._rules, source, self._nothing_unknown)
        known = {path: value for path, value in fields.items() if path not in unknown}
        return DesiredEntity(key, known, self._rules, source, unknown)

    def _share(self, values: list[Json]) -> None:
        """Make equal texts of a path (a status, a service's id) one object; paths of ever new texts are left alone."""
        for position, texts in self._columns:
            value = values[position]
            if value.__class__ is not str:
                continue
            shared = texts.get(value)
            if shared is not None:
                values[position] = shared
            elif len(texts) < _SHARED_TEXTS:
                texts[value] = value
            else:
                self._columns = [column for column in self._columns if column[0] != position]

    def _key_part(self, name: str, value: Json, source: str) -> str | Searched | Unusable:
        if isinstance(value, Searched):
            return value
        if isinstance(value, Unknown):
            return Unusable(value.reason)
        code, check = (BAD_IDENTIFIER, identifier_of) if name == IDENTIFIER else (BAD_BLUEPRINT, blueprint_of)
        part = check(value)
        if isinstance(part, Unusable):
            self._report(code, name, part.reason, (source,))
        return part

    def _items_failure(self, items: Json, source: str) -> str:
        if items == 1:
            self._report(SEVERAL, ITEMS, "the first is used", (source,))
            return ""
        cell = read_cell(items)
        if cell.state == "error":
            return self._failed(cell.code, ITEMS, cell.reason, source).failure
        reason = _outcome(cell)
        return self._failed(BAD_ITEMS, ITEMS, reason, source).failure

    def _selector_failure(self, cell: Cell, source: str) -> str:
        code, reason = (cell.code, cell.reason) if cell.state == "error" else (BAD_SELECTOR, _outcome(cell))
        return self._failed(code, SELECTOR, reason, source).failure

    def _failed(self, code: str, name: str, reason: str, source: str) -> Reading:
        self._report(code, name, reason, (source,))
        return Reading(0, [], f"{name}: {reason}")

    def _report(self, code: str, name: str, message: str, records: tuple[str, ...]) -> None:
        self._silent = False
        if code == UNAVAILABLE:  # one message for all that depends on it
            self._problems.add(code, self._rule.id, message, self._rule.origin, records=records)
        elif code:
            origin = self._origins.get(name) or self._origins.get(f"{name}[0]") or self._rule.origin
            self._problems.add(code, f"{name} of {self._rule.id}", message, origin, records=records)

    def _lacking(self, record: Record) -> Mapping[str, Cell]:
        """The slots that speak of an enrichment which this record lacks."""
        names = tuple(record.unavailable.items())
        found = self._lacking_by_names.get(names)
        if found is None:
            found = self._lacking_by_names[names] = {
                slot: Cell("unknown", code=UNAVAILABLE, reason=lacking(name, why))
                for name, why in names
                for slot, text in self._spellings.items()
                if mention(name).search(text) or (slot not in _OF_THE_ENTITY and takes_all(text))
            }
        return found


def identifier_of(value: Json) -> str | Unusable:
    """The identifier that a value stands for, in Unicode's composed form; whole numbers as text.

    The pattern and the length are Port's (API reference, entity identifier); its class of letters is what `isalpha`
    takes.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < _EXACT_INTEGER else Unusable(f"{value} is too large a number to be exact")
    if not isinstance(value, str):
        return Unusable(f"it is {_kind(value)}")
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    reason = _refusal(text)
    return Unusable(reason) if reason else text


def _refusal(text: str) -> str:
    """Why a text is not an identifier; "" when it is."""
    if not text:
        return "it is empty"
    if len(text) > _IDENTIFIER_LENGTH:
        return f"it has {len(text)} characters, {_IDENTIFIER_LENGTH} is the most"
    if text in _RESERVED:
        return f"{shown(text)} is reserved"
    if _PLAIN_IDENTIFIER.fullmatch(text):
        return ""
    refused = next((c for c in text if not c.isalpha() and c not in _PUNCTUATION), None)
    return f"{shown(text)} holds {shown(refused)}" if refused else ""


def blueprint_of(value: Json) -> str | Unusable:
    """The blueprint that a value names."""
    if isinstance(value, str):
        return value or Unusable("it is empty")
    return Unusable(f"it is {_kind(value)}")


def _text_or_null(value: Json) -> str:
    if value is None or isinstance(value, str | Unknown):
        return ""
    return f"text or null is expected, it is {_kind(value)}: {shown(value)}"


def _team(value: Json) -> str:
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return ""
    if value is None or isinstance(value, str | Unknown | Searched):
        return ""
    return f"text or a list of texts is expected, it is {_kind(value)}: {shown(value)}"


def _plain(value: Json) -> Json:
    return value.query if isinstance(value, Searched) else value


_CHECKS: Mapping[str, Callable[[Json], str]] = {"title": _text_or_null, "icon": _text_or_null, "team": _team}
"""Why a value is not fit for a path; "" when it is."""


def _outcome(cell: Cell) -> str:
    if cell.state == "none":
        return "it gives no value"
    if cell.state == "several":
        return "it gives several values"
    return f"it is {_kind(cell.value)}" + (f": {shown(cell.value)}" if cell.value is not None else "")


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


_OF_THE_ENTITY = frozenset({ITEMS, SELECTOR, IDENTIFIER, BLUEPRINT})
"""What says whether there is an entity, and which: no enrichment does that unless it is named."""


def takes_all(text: str) -> bool:
    """Whether an expression may give all that a record holds, its enrichments among it, as `.` does."""
    return wanted_by([text]).whole


def mention(name: str) -> re.Pattern[str]:
    """Finds an enrichment by its name in a jq expression."""
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
