"""What a plan touches beyond what it changes, as one line and a few names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdsync.render.escape import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pdsync.model import BlastRadius, Dependent

NAMED = 5
"""So many names of a sort are told; the rest are counted."""


def blast_line(blast: BlastRadius) -> str:
    """`touches 6 teams (a, b, ...), 1 required relation, 0 scorecards`; nothing in it can steer a terminal."""
    required = sum(each.required for each in blast.dependents)
    emptied = len(blast.dependents) - required
    unknown = [part for part in blast.unknown if part.startswith("scorecards of ")]
    parts = [
        _count(len(blast.teams), "team", blast.teams),
        _count(required, "required relation"),
        *([_count(emptied, "relation", suffix=" emptied by Port")] if emptied else []),
        _count(len(blast.scorecards), "scorecard", blast.scorecards),
    ]
    told = f"touches {', '.join(parts)}"
    not_known = [*unknown, *(part for part in blast.unknown if part not in unknown)]
    return f"{told}; not known: {visible(', '.join(not_known))}" if not_known else told


def blast_names(blast: BlastRadius) -> Iterator[str]:
    """Who loses a relation or stands in the way of a delete, the required ones first."""
    ordered = sorted(blast.dependents, key=lambda each: not each.required)
    for each in ordered[:NAMED]:
        yield visible(_dependent(each))
    if len(ordered) > NAMED:
        yield f"and {len(ordered) - NAMED} more"


def _dependent(each: Dependent) -> str:
    what = "requires" if each.required else "loses"
    return f"{each.key} {what} {each.target} ({each.relation})"


def _count(number: int, word: str, names: Sequence[str] = (), *, suffix: str = "") -> str:
    more = ", ..." if len(names) > NAMED else ""
    listed = f" ({visible(', '.join(names[:NAMED]))}{more})" if names else ""
    return f"{number} {word}{'' if number == 1 else 's'}{suffix}{listed}"
