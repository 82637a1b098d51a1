"""Problems that mapping finds: the table of their codes, and the gathering of equal ones into one Diagnostic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from pdsync.errors import Diagnostic, Origin, Severity

RAISED = "PD201"
DENIED = "PD202"
OUT_OF_TIME = "PD203"
OUT_OF_MEMORY = "PD204"
CRASHED = "PD205"
NOT_JQ = "PD206"
SEVERAL = "PD207"
BAD_SELECTOR = "PD210"
BAD_ITEMS = "PD211"
BAD_IDENTIFIER = "PD212"
BAD_BLUEPRINT = "PD213"
WRONG_TYPE = "PD214"
SEARCHED_FIELD = "PD220"
SEARCHED_IDENTIFIER = "PD221"
SEARCHED_NOTHING = "PD222"
SEARCHED_SEVERAL = "PD223"
SEARCHED_LATER = "PD224"
UNAVAILABLE = "PD230"
UNREADABLE = "PD240"
NOT_IN_SNAPSHOT = "PD241"
COLLISION, DISAGREEMENT = "PD250", "PD251"
NO_WORKER = "PD290"


class _Sort(NamedTuple):
    severity: Severity
    summary: str
    hint: str


_FIX = "run `pdsync eval` on one of the records to see every value; write `?` or `//` where a value may be missing"
_BOUND = "look for a loop without an end (`while`, `until`, `repeat`, `recurse`) or for a very large array or string"

SORTS: dict[str, _Sort] = {
    RAISED: _Sort(Severity.ERROR, "jq error", _FIX),
    DENIED: _Sort(
        Severity.ERROR,
        "expression uses what mappings may not use",
        "remove it: a mapping sees nothing but the record, so that the same record always gives the same entity",
    ),
    OUT_OF_TIME: _Sort(Severity.ERROR, "expression does not end", _BOUND),
    OUT_OF_MEMORY: _Sort(Severity.ERROR, "expression needs too much memory", _BOUND),
    CRASHED: _Sort(Severity.ERROR, "expression brings jq down", "simplify it; very deep nesting is a known cause"),
    NOT_JQ: _Sort(Severity.ERROR, "expression is not valid jq", "run `pdsync validate` to see the place"),
    SEVERAL: _Sort(
        Severity.WARNING,
        "expression gives several values, the first is used",
        "write `first(...)` if that is meant, or collect all with `[...]`",
    ),
    BAD_SELECTOR: _Sort(
        Severity.ERROR,
        "selector does not give one true or false",
        'make it a comparison, such as `.status == "active"` or `.field != null`',
    ),
    BAD_ITEMS: _Sort(
        Severity.ERROR, "itemsToParse does not give one list", "write `.field // []` if it may be missing"
    ),
    BAD_IDENTIFIER: _Sort(
        Severity.ERROR,
        "identifier cannot be used",
        "Port takes 1 to 1000 letters, digits and @ _ . + : \\ / = -; replace others with "
        '`gsub("[^A-Za-z0-9@_.+:=/-]"; "-")`, turn other types into text with `tostring`',
    ),
    BAD_BLUEPRINT: _Sort(
        Severity.ERROR,
        "blueprint is not a non-empty string",
        "a constant needs its own quotes: `'\"pagerdutyService\"'`",
    ),
    WRONG_TYPE: _Sort(
        Severity.ERROR,
        "value has the wrong type",
        "take the text that is meant out of an object, turn other types into text with `tostring`",
    ),
    SEARCHED_FIELD: _Sort(
        Severity.WARNING,
        "search query cannot be answered, the field keeps Port's value",
        "Port takes and / or, and =, in, contains and containsAny on a property of the entities that are searched",
    ),
    SEARCHED_IDENTIFIER: _Sort(
        Severity.ERROR,
        "identifier by search query does not name one entity",
        "such a mapping only writes entities that are in Port, and makes none; make the query more exact, or let the "
        "selector leave out what has none",
    ),
    SEARCHED_NOTHING: _Sort(
        Severity.WARNING,
        "search query finds nothing, the field is emptied",
        "see that the property of the entity that is searched for has this value in Port",
    ),
    SEARCHED_SEVERAL: _Sort(
        Severity.ERROR,
        "search query finds several entities where Port takes one, the field keeps Port's value",
        "make the query more exact, or the relation `many: true`",
    ),
    SEARCHED_LATER: _Sort(
        Severity.WARNING, "search query can only be answered in full once this plan is applied", "plan again afterwards"
    ),
    UNAVAILABLE: _Sort(
        Severity.WARNING,
        "an enrichment could not be read, what depends on it stays as it is",
        "give the credentials what they lack, see what is said of the list, or run it again later",
    ),
    UNREADABLE: _Sort(Severity.ERROR, "record is not valid JSON", "take the snapshot again"),
    NOT_IN_SNAPSHOT: _Sort(
        Severity.ERROR, "snapshot does not hold what the mapping asks for", "take a new snapshot: `pdsync snapshot`"
    ),
    COLLISION: _Sort(
        Severity.ERROR,
        "several records map to the same entity",
        "make the identifier unique, for example by adding another id to it; the entities are left as they are",
    ),
    DISAGREEMENT: _Sort(
        Severity.ERROR,
        "mappings that write one entity disagree",
        "let one of them alone write that, or make the identifiers different; the entities are left as they are",
    ),
}
"""Severity, summary and hint of each code."""

_NAMED_RECORDS = 5


@dataclass(slots=True)
class _Group:
    message: str
    origin: Origin
    related: tuple[Origin, ...]
    count: int = 0
    records: list[str] = field(default_factory=list)
    last: str = ""


class Problems:
    """Collects problems; those of one code and sort at one place become one Diagnostic, in the order of appearance."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], _Group] = {}

    def add(
        self,
        code: str,
        place: str,
        message: str,
        origin: Origin,
        *,
        records: tuple[str, ...] = (),
        related: tuple[Origin, ...] = (),
        sort: str = "",
    ) -> None:
        """Note that `records` have a problem; `message` says it for the first of its kind, or of a `sort` of it."""
        group = self._groups.get((code, place, sort))
        if group is None:
            group = self._groups[code, place, sort] = _Group(message, origin, related)
        for record in records:
            if record == group.last or record in group.records:
                continue
            group.last = record
            group.count += 1
            if len(group.records) < _NAMED_RECORDS:
                group.records.append(record)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What was collected."""
        return tuple(self._diagnostic(code, place, group) for (code, place, _), group in self._groups.items())

    @staticmethod
    def _diagnostic(code: str, place: str, group: _Group) -> Diagnostic:
        sort = SORTS[code]
        return Diagnostic(
            sort.severity,
            code,
            sort.summary,
            detail=f"{place}: {group.message}{_among(group.count)}",
            origin=group.origin,
            hint=sort.hint,
            related=group.related,
            records=tuple(group.records),
            more_records=group.count - len(group.records),
        )


def _among(count: int) -> str:
    return f" (first of {count:,} records)" if count > 1 else ""
