"""What must hold after a run that was struck and has come to its end: all is as after one that nothing happened to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pdsync.cli.selftest.processes import Ran
    from pdsync.cli.selftest.stage import Picture, Written
    from pdsync.model import Json, Ledger


@dataclass(frozen=True, slots=True)
class Judgement:
    """What did not hold.  `duplicates` are what was made or deleted more than once.

    `again` is how many other writes were sent again that had taken effect already, and so changed nothing.
    """

    problems: tuple[str, ...]
    duplicates: int
    again: int


def judge(picture: Picture, reference: Picture, planned: Ran, anew: Sequence[Written] = ()) -> Judgement:
    """Compare with an unbroken run; `planned` is what planning again came to, `anew` what somebody made meanwhile."""
    twice = _twice(picture)
    keys = {f"{w.blueprint}/{w.identifier}" for w in anew}
    problems = (
        *twice,
        *_of_port(picture, reference, anew),
        *_of_ledger(picture.ledger, reference.ledger, keys),
        *_foreign(picture, reference),
        *(f"left behind: {name}" for name in picture.litter),
        *_left_to_do(planned, sum(str(key) in keys for key in picture.ledger.entities)),
    )
    more = Counter(picture.written) - Counter(reference.written)
    again = sum(count for written, count in more.items() if written.action == "UPDATE")
    return Judgement(problems, len(twice), again)


def _twice(picture: Picture) -> list[str]:
    counts = Counter(str(written) for written in picture.written if written.action != "UPDATE")
    return [f"{count} times: {written}" for written, count in counts.items() if count > 1]


def _foreign(picture: Picture, reference: Picture) -> Iterator[str]:
    ours = {(w.blueprint, w.identifier) for w in reference.written}
    foreign = sorted({str(w) for w in picture.written if (w.blueprint, w.identifier) not in ours})
    yield from (f"not in the plan: {each}" for each in foreign)


def _of_port(picture: Picture, reference: Picture, anew: Sequence[Written]) -> Iterator[str]:
    held, wanted = _entities(picture.port), _entities(reference.port)
    for written in anew:
        key = (written.blueprint, written.identifier)
        if held.pop(key, None) is None:
            yield f"what was made anew is gone: {'/'.join(key)}"
    yield from (f"Port: {'/'.join(key)} differs" for key in _unlike(held, wanted))
    blueprints = _unlike(picture.port["blueprints"], reference.port["blueprints"])
    yield from (f"Port: blueprint {name} differs" for name in blueprints)


def _entities(port: Mapping[str, Json]) -> dict[tuple[str, str], Json]:
    return {(name, one): body for name, held in port["entities"].items() for one, body in held.items()}


def _of_ledger(ledger: Ledger, reference: Ledger, anew: set[str]) -> Iterator[str]:
    """The ledger must be the same but for its serial, parent and runs, and what is still owned of what came anew."""
    held = {key: entry for key, entry in ledger.entities.items() if str(key) not in anew}
    yield from (f"ledger: {key} differs" for key in _unlike(held, reference.entities))
    yield from (f"ledger: blueprint {name} differs" for name in _unlike(ledger.blueprints, reference.blueprints))
    if not anew and _said_of_itself(ledger) != _said_of_itself(reference):
        yield "ledger: what it says of itself differs"


def _said_of_itself(ledger: Ledger) -> Ledger:
    """All but what every save changes, and but how long lists were, which is told as of some run, unless in doubt."""
    listed = {
        name: each if each.suspicious else replace(each, count=0, believed=0, when="")
        for name, each in ledger.listed.items()
    }
    return replace(ledger, serial=0, parent="", runs=(), entities={}, blueprints={}, listed=listed)


def _unlike(one: Mapping[Json, Json], other: Mapping[Json, Json]) -> list[Json]:
    return [key for key in {**other, **one} if one.get(key) != other.get(key)]


def _left_to_do(planned: Ran, deletes: int) -> Iterator[str]:
    """Planning again finds nothing, but for the fate of what is owned and was made anew: a person reviews that."""
    wanted = f"Plan: 0 to create, 0 to update, {deletes} to delete." if deletes else "No changes."
    if planned.code or wanted not in planned.text:
        yield f"planning again does not say {wanted!r}"
