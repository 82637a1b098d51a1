"""What a KEY means, in any of the spellings that people have at hand.

    pagerdutyService/PX1   pagerdutyService:PX1     an entity, as pdsync prints it
    services:PX1           services/PX1             a record
    PX1                                             whatever alone has it
    https://acme.pagerduty.com/service-directory/PX1  https://app.port.io/pagerdutyServiceEntity?identifier=PX1
    Checkout API                                    the title of an entity

The first of these ways that finds something counts, exactly first and then in whatever case.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pdsync.errors import Diagnostic, UsageError, error
from pdsync.kinds import KINDS
from pdsync.model import EntityKey, sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pdsync.model import Plan, Snapshot
    from pdsync.plan import Facts

_CLOSE = 3
_CANDIDATES = 10
_WORD = 3
"""So many letters are looked for in titles; fewer are in any."""
_SIGNS = "/: "
_PAGE = "Entity"
"""What Port puts behind a blueprint's name in the address of an entity's page."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is meant: entities, and records as `services/PX1`."""

    keys: tuple[EntityKey, ...]
    records: tuple[str, ...] = ()


class Names:
    """Everything that can be asked for: entities that anything is known of; records that there are, or were."""

    def __init__(self, facts: Facts, plan: Plan, snapshot: Snapshot) -> None:
        desired, owned = facts.desired, facts.ledger.entities
        self._taken_at = snapshot.taken_at
        self._keys = {*desired.entities, *desired.held, *owned, *facts.existing.entities}
        self._keys |= {change.key for change in plan.changes if change.target == "entity"}
        self._records = {
            f"{query.kind}/{record.id}" for query, each in snapshot.collections.items() for record in each.records
        }
        self._records |= {source for entry in owned.values() for source in sources_of(entry)}
        self._titles: dict[EntityKey, str] = {}
        for side in (facts.existing.entities, owned, desired.entities):
            self._titles |= {key: str(title) for key, each in side.items() if (title := each.fields.get("title"))}

    def meant(self, asked: str) -> Asked | None:
        """What is meant by a text; None when there is nothing of that name.

        Raises `UsageError` when several things have it.
        """
        for way in (self._exactly, self._linked, self._titled, self._whatever_case):
            if found := way(asked.strip()):
                return self._one(asked, found)
        return None

    def nothing(self, asked: str) -> Diagnostic:
        """That there is nothing of that name, and what may have been meant."""
        close = [*self._close(asked)]
        hint = f"did you mean {', '.join(close)}?" if close else "write BLUEPRINT/IDENTIFIER, or KIND:ID for a record"
        detail = f"{asked}: no entity and no record of the snapshot taken {self._taken_at}"
        return error("PD860", "there is nothing of that name", detail=detail, hint=hint)

    # --- ways to be meant

    def _exactly(self, asked: str) -> Asked | None:
        keys = [key for sign in _SIGNS if (key := EntityKey(*_split(asked, sign))) in self._keys]
        if keys:
            return Asked((keys[0],))
        if record := next((name for name in _as_record(asked) if name in self._records), ""):
            return Asked((), (record,))
        return self._named(lambda identifier: identifier == asked)

    def _linked(self, asked: str) -> Asked | None:
        """By an address: that of Port's page names both parts, PagerDuty's ends in the record's id."""
        address = urlsplit(asked) if "://" in asked else None
        if address is None:
            return None
        words = [word for part in (address.path, address.fragment) for word in part.split("/") if word]
        for identifier in parse_qs(address.query).get("identifier", ()):
            key = EntityKey(words[-1].removesuffix(_PAGE) if words else "", identifier)
            return Asked((key,)) if key in self._keys else self._exactly(identifier)
        return next((found for word in reversed(words) if (found := self._exactly(word))), None)

    def _titled(self, asked: str) -> Asked | None:
        return _some(key for key, title in self._titles.items() if title == asked)

    def _whatever_case(self, asked: str) -> Asked | None:
        folded = asked.casefold()
        spelled = {EntityKey(*_split(folded, sign)) for sign in _SIGNS}
        return (
            _some(key for key in self._keys if EntityKey(*(part.casefold() for part in key)) in spelled)
            or self._named(lambda identifier: identifier.casefold() == folded)
            or _some(key for key, title in self._titles.items() if title.casefold() == folded)
        )

    def _named(self, is_it: Callable[[str], bool]) -> Asked | None:
        """By the identifier alone: entities, or records where there are none."""
        if found := _some(key for key in self._keys if is_it(key.identifier)):
            return found
        records = sorted(name for name in self._records if is_it(name.partition("/")[2]))
        return Asked((), tuple(records)) if records else None

    def _one(self, asked: str, found: Asked) -> Asked:
        candidates = [*map(self._told, found.keys), *map(_spelled, found.records)]
        if len(candidates) > 1:
            raise UsageError(_ambiguous(asked, candidates))
        return found

    # --- what may have been meant

    def _close(self, asked: str) -> Iterator[str]:
        """What is spelled nearly so, whole or in part; by title where nothing is."""
        names = {_spelled(name): _spelled(name) for name in sorted(self._records)}
        names |= {str(key): self._told(key) for key in sorted(self._keys)}
        bare = {name.replace(":", "/", 1).partition("/")[2]: told for name, told in names.items()}
        titles = {title: self._told(key) for key, title in sorted(self._titles.items())}
        for spelled in (names, bare, titles, {title.casefold(): told for title, told in titles.items()}):
            if close := [name for name in _alike(asked, spelled) if _alike(_own(asked), [_own(name)])]:
                yield from (spelled[name] for name in close)
                return
        words = asked.casefold()
        if len(words) >= _WORD:
            yield from [told for title, told in titles.items() if words in title.casefold()][:_CLOSE]

    def _told(self, key: EntityKey) -> str:
        title = self._titles.get(key)
        return f'{key} "{title}"' if title and title != key.identifier else str(key)


def _alike(asked: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(asked, names, n=_CLOSE, cutoff=0.6)


def _own(name: str) -> str:
    """What is behind the blueprint or kind, which is long and alike for many."""
    return name.replace(":", "/", 1).partition("/")[2] or name


def _some(keys: Iterable[EntityKey]) -> Asked | None:
    found = tuple(sorted(keys))
    return Asked(found) if found else None


def _split(asked: str, sign: str) -> tuple[str, str]:
    blueprint, _, identifier = asked.partition(sign)
    return blueprint, identifier


def _as_record(asked: str) -> Iterator[str]:
    """What `services:PX1` or `services/PX1` is called everywhere else, whatever spelling of the kind."""
    for sign in _SIGNS:
        spelling, id_ = _split(asked, sign)
        row = KINDS.get(spelling)
        yield f"{row.name if row else spelling}/{id_}"


def _spelled(record: str) -> str:
    """A record as it is asked for: `services:PX1`."""
    return record.replace("/", ":", 1)


def _ambiguous(asked: str, candidates: Sequence[str]) -> Diagnostic:
    more = f" and {len(candidates) - _CANDIDATES} more" if len(candidates) > _CANDIDATES else ""
    hint = f"name one of them: {', '.join(candidates[:_CANDIDATES])}{more}"
    return error("PD861", "several things have that name", detail=asked, hint=hint)
