"""What a plan leaves as it is, in words: those of one blueprint for the same reason in one line."""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdsync.model import Held, Kept, Plan

FOLD = 3
"""Entities of which the very same is told, from which on they are one line."""


def held_lines(plan: Plan, *, everything: bool = False) -> list[tuple[str, str]]:
    """Who is left as it is, and why; those of one blueprint for the same reason in one line, unless `everything`."""
    return _alike([(item, item.reason) for item in plan.held], everything=everything)


def unknown_lines(plan: Plan, *, everything: bool = False) -> list[str]:
    """What is not known, why, and what stays as it is for that; folded as `held_lines`."""
    told = [(item, f"{item.reason}; kept as in Port: {', '.join(item.paths)}") for item in plan.kept]
    kept = [f"{who}: {what}" for who, what in _alike(told, everything=everything)]
    return [*map(str, plan.unavailable), *kept]


def ignored_lines(plan: Plan) -> list[str]:
    """Which fields differ and are left alone, and of how many entities."""
    counted = ((i, "1 entity differs" if i.count == 1 else f"{i.count} entities differ") for i in plan.ignored)
    return [f"{item.blueprint} {item.path}: {entities}" for item, entities in counted]


def first_few(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    first, others = [*islice(names := iter(names), FOLD)], sum(1 for _ in names)
    return ", ".join(first) + (f" and {others} more" if others else "")


def _alike(told: Iterable[tuple[Held | Kept, str]], *, everything: bool) -> list[tuple[str, str]]:
    """Entities and what is said of them; where that differs in the record alone, those of one blueprint together."""
    groups: defaultdict[tuple[str, str], list[tuple[Held | Kept, str]]] = defaultdict(list)
    for item, said in told:
        of_any = said.replace(f" {item.record} ", " ", 1) if item.record else said
        groups[item.blueprint, of_any].append((item, said))
    lines: list[tuple[str, str]] = []
    for (blueprint, of_any), group in groups.items():
        if everything or len(group) <= FOLD:
            lines += [(str(item.key), said) for item, said in group]
        else:
            lines.append((f"{blueprint} x {len(group)}, {first_few(item.identifier for item, _ in group)}", of_any))
    return lines
