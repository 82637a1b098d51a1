"""Finding a kind by any of its names, and what is needed to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pdsync.kinds.analytics import ANALYTICS
from pdsync.kinds.table import LISTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.kinds.shape import Kind
    from pdsync.model import Query

_FEW = 15
PLACE = re.compile(r"\{[^}]*\}")
NO_LETTER = re.compile(r"[^a-z0-9]")


class KindTable(Mapping[str, "Kind"]):
    """Every kind by its name; asked by another spelling, such as `audit/records`, it gives the same row."""

    def __init__(self, rows: Iterable[Kind]) -> None:
        self._rows = {row.name: row for row in rows}
        self._others = _other_names(self._rows)

    def __getitem__(self, name: str) -> Kind:
        if (row := self._rows.get(name)) is not None:
            return row
        path = name.strip("/")
        found = self._others.get(PLACE.sub("{}", path)) or self._others.get(dotted := path.replace("/", "."), dotted)
        return self._rows[found]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def spellings(self) -> Iterator[str]:
        """Every name that leads to a kind."""
        yield from self._rows
        yield from self._others


def _other_names(rows: Mapping[str, Kind]) -> dict[str, str]:
    """By path, with and without the parts that are filled in; a kind's own name is never another's."""
    whole = {PLACE.sub("{}", row.path.strip("/")): name for name, row in rows.items()}
    short: dict[str, str] = {}
    for name, row in rows.items():
        parts = [part for part in row.path.strip("/").split("/") if not part.startswith("{")]
        if not row.path.startswith("/{") and ".".join(parts) not in rows:
            short.setdefault(".".join(parts), name)
    return {**short, **{path: name for path, name in whole.items() if path not in rows}}


KINDS: Mapping[str, Kind] = KindTable((*LISTS, *ANALYTICS))
"""Every kind by its name or any other spelling of it; iterating gives each once, by its own name."""


def suggest(word: str, known: Iterable[str]) -> str:
    """A hint: the one of `known` that was probably meant, or all of them if they are few."""
    names = sorted(known)
    folded = {NO_LETTER.sub("", name.lower()): name for name in names}
    close = get_close_matches(NO_LETTER.sub("", word.lower()), folded, n=1, cutoff=0.7)
    if close:
        return f'did you mean "{folded[close[0]]}"?'
    return f"known are {', '.join(names)}" if 0 < len(names) <= _FEW else ""


def scopes_for(kinds: Iterable[str | Query]) -> tuple[str, ...]:
    """The least scopes with which an OAuth app can read these kinds, with parents and enrichments, sorted.

    Of a query only the enrichments that it asks for count, of a kind's name all that it may have.  Kinds whose
    scope the API reference does not name add nothing.
    """
    return tuple(sorted({row.scope for row in _needed(kinds) if row.scope}))


def _needed(kinds: Iterable[str | Query]) -> Iterator[Kind]:
    """The rows themselves, and all that they lean on."""
    for kind in kinds:
        row = KINDS[kind if isinstance(kind, str) else kind.kind]
        wanted = {each.name for each in row.enrichments} if isinstance(kind, str) else {n for n, _ in kind.enrich}
        yield row
        for parent in row.parents:
            yield from parents_of(parent.kind)
        for enrichment in row.enrichments:
            if enrichment.name in wanted:
                yield from (KINDS[name] for name in enrichment.kinds)


def parents_of(kind: str) -> Iterator[Kind]:
    """The row of a kind and those of everything that it is listed under."""
    if kind:
        yield KINDS[kind]
        for parent in KINDS[kind].parents:
            yield from parents_of(parent.kind)
