"""What is asked for about each record, and comes empty for some that had it: believed only once that lasts.

Nothing counts such values, and a list of them that shrank by half is not believed anyhow (`pdsync.completeness`): this
is about the others.  That nothing is left is so once snapshots have said it for as long as they must of a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.completeness import is_young

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import timedelta

    from pdsync.recordfile import KeptRecords

_GONE = "PagerDuty gave some before, and none since "
_NOTHING_THEN = ""


def emptied(name: str, now: KeptRecords, before: Sequence[KeptRecords], at: str, least: timedelta) -> dict[str, str]:
    """Why it is not believed `at` a moment that an enrichment has nothing for some records, by id.

    `before` are the records as the last snapshot had them; what it could not read may have been there.
    """
    values = now.values(name)
    empty = set(values.ids).difference(values.given(), now.lacking(name))
    since: dict[str, str] = {}
    for each in before if empty else ():
        for id_, moment in _since(name, each, empty, at):
            since[id_] = min(moment, since.get(id_, moment))
    return {id_: f"{_GONE}{moment}" for id_, moment in since.items() if _is_young(moment, at, least)}


def _since(name: str, before: KeptRecords, ids: set[str], at: str) -> Iterator[tuple[str, str]]:
    """Since when there has been nothing for some records, as far as these tell."""
    reasons: Mapping[str, str] = before.lacking(name)
    values = before.values(name)
    nothing = set(values.ids).difference(values.given())
    for id_ in ids.intersection(before.rows.ids):
        if (reason := reasons.get(id_, "")).startswith(_GONE):
            yield id_, reason.removeprefix(_GONE)
        else:
            yield id_, _NOTHING_THEN if id_ in nothing else at


def _is_young(moment: str, at: str, least: timedelta) -> bool:
    if moment == _NOTHING_THEN:
        return False
    return is_young(moment, at, least)
