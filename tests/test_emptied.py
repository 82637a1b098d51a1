"""What is asked for about each record is not gone because it came empty once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.emptied import emptied
from pdsync.model import raw_digest
from pdsync.recordfile import Block, KeptRecords
from pdsync.spool import Held

NAME, HOUR = "__custom_fields", timedelta(hours=1)
SOME, NONE = b'[{"value":1}]', b"[]"


def moment(minutes: int) -> str:
    return f"2026-01-01T{minutes // 60:02}:{minutes % 60:02}:00Z"


def records(found: dict[str, bytes | None]) -> KeptRecords:
    """Records with what each has of the enrichment; None: it could not be read."""

    def block(raws: dict[str, bytes]) -> Block:
        made = Block(Held(b""))
        for id_, raw in raws.items():
            made.add(id_, 0, len(raw), raw_digest(raw))
        return made

    values = {id_: raw for id_, raw in found.items() if raw is not None}
    unread = {id_: {NAME: "HTTP 500"} for id_ in found.keys() - values.keys()}
    return KeptRecords(block(dict.fromkeys(found, b"{}")), {NAME: block(values)}, unread)


def told(history: list[tuple[int, dict[str, bytes | None]]]) -> list[list[str]]:
    """Which records are in doubt in each of several snapshots, taken so many minutes after the first."""
    before: list[KeptRecords] = []
    doubted = []
    for minutes, found in history:
        now = records(found)
        reasons = emptied(NAME, now, before, moment(minutes), HOUR)
        before = [now.doubted_of(NAME, reasons)]
        doubted.append(sorted(reasons))
    return doubted


@pytest.mark.parametrize(
    ("states", "in_doubt"),
    [
        ([(0, SOME), (5, NONE), (64, NONE), (65, NONE), (66, NONE)], [False, True, True, False, False]),
        ([(0, SOME), (5, NONE), (30, SOME), (70, NONE)], [False, True, False, True]),
        ([(0, NONE), (5, NONE)], [False, False]),
        ([(0, SOME), (5, None), (10, NONE), (70, NONE)], [False, False, True, False]),
        ([(0, SOME), (500, NONE), (501, SOME)], [False, True, False]),
    ],
)
def test_it_is_gone_once_that_lasts(states: list[tuple[int, bytes | None]], in_doubt: list[bool]) -> None:
    """An hour, in every snapshot between; what could not be read may have been there all the time."""
    history = [(minutes, {"P1": state, "P2": SOME}) for minutes, state in states]
    assert told(history) == [["P1"] if doubt else [] for doubt in in_doubt]


def test_what_is_new_never_had_any() -> None:
    """A record without a past is believed; so is everything where there is no earlier snapshot."""
    assert told([(0, {"P1": SOME, "P2": NONE}), (1, {"P1": SOME, "P2": NONE, "P3": NONE})]) == [[], []]


@given(st.lists(st.dictionaries(st.sampled_from("ABC"), st.sampled_from([SOME, NONE, None])), max_size=6))
def test_nothing_that_was_there_is_gone_within_the_hour(states: list[dict[str, bytes | None]]) -> None:
    """Of no record that gave something in the last hour is it believed that it has none, or it was away meanwhile."""
    last: dict[str, bytes] = {}
    for state, doubted in zip(states, told(list(enumerate(states))), strict=True):
        last = {id_: raw for id_, raw in last.items() if id_ in state}
        for id_, raw in state.items():
            assert (id_ in doubted) == (raw == NONE and last.get(id_, NONE) != NONE)
            last[id_] = SOME if raw is None or id_ in doubted else raw
