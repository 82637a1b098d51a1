"""The ledger as a file: whole, canonical, and refused by name when it is anything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import StateError
from pdsync.model import EntityKey, Ledger, LedgerEntry, Portion, RunNote
from pdsync.plan.parts import origin_of
from pdsync.state.ledger_file import checksum, dump_ledger, parse_ledger
from tests.state.strategies import LEDGERS

if TYPE_CHECKING:
    import random

FIXTURES = Path(__file__).parents[1] / "fixtures" / "state"

TWO = Ledger(
    "ab12",
    serial=3,
    parent="cd",
    org_id="org",
    commit="0123",
    tool="jq 1",
    expressions={"r": {"title": "1f"}},
    runs=(RunNote("20260601T120000Z-1f", "2026-06-01T12:00:00Z", "apply", 3, "me@here", changes=2, done=2),),
    blueprints={"service": LedgerEntry({"icon": "Ship", "title": "Service"}, "adopted", parts={"icon": "created"})},
    entities={
        EntityKey("service", "b"): LedgerEntry({"title": "B"}, "created", ("r",), "services/b"),
        EntityKey("service", "a"): LedgerEntry({"title": "A", "properties.n": [1, None]}, "adopted", protect=True),
    },
)

JOINED = LedgerEntry(
    {"title": "A", "properties.n": 1},
    "created",
    ("q", "r", "s"),
    "policies/p",
    portions=(Portion("policies/p", ("q",), ("properties.n",)), Portion("services/a", ("r", "s"), ("title",))),
)


def header(data: bytes, **changes: Any) -> bytes:
    """The file with other values in its header."""
    head, _, body = data.partition(b"\n")
    return orjson.dumps({**orjson.loads(head), **changes}) + b"\n" + body


def refusal(data: bytes) -> tuple[str, str]:
    """Code and text of the error that reading raises."""
    with pytest.raises(StateError) as caught:
        parse_ledger(data, "state/ledger.jsonl")
    return caught.value.diagnostics[0].code, str(caught.value)


@given(LEDGERS)
def test_round_trip(ledger: Ledger) -> None:
    """What is written is read back equal."""
    assert ledger == parse_ledger(dump_ledger(ledger), "l")


@given(LEDGERS, st.randoms(use_true_random=False))
def test_equal_ledgers_are_equal_bytes(ledger: Ledger, order: random.Random) -> None:
    """The order in which entries and fields were entered does not show."""

    def shuffled(items: dict[Any, Any]) -> dict[Any, Any]:
        listed = list(items.items())
        order.shuffle(listed)
        return dict(listed)

    entities = {key: replace(entry, fields=shuffled(dict(entry.fields))) for key, entry in ledger.entities.items()}
    other = replace(ledger, blueprints=shuffled(dict(ledger.blueprints)), entities=shuffled(entities))
    assert dump_ledger(ledger) == dump_ledger(other)


@given(LEDGERS)
def test_one_line_an_entry(ledger: Ledger) -> None:
    """Header and entries have a line each, so that one changed entity is one changed line."""
    count = 1 + len(ledger.blueprints) + len(ledger.entities)
    assert dump_ledger(ledger).count(b"\n") == count


def test_the_format_stands_still() -> None:
    """The bytes of a small ledger, as other versions will find them."""
    head, *lines = dump_ledger(TWO).splitlines()
    assert list(orjson.loads(head)) == sorted(orjson.loads(head))
    assert {name: orjson.loads(head)[name] for name in ("format", "version", "serial", "count")} == {
        "format": "pdsync-ledger",
        "version": 4,
        "serial": 3,
        "count": 3,
    }
    assert lines == [
        b'{"f":{"icon":"Ship","title":"Service"},"o":"adopted","b":"service","a":{"icon":"created"}}',
        b'{"f":{"properties.n":[1,null],"title":"A"},"o":"adopted","k":["service","a"],"p":true}',
        b'{"f":{"title":"B"},"o":"created","k":["service","b"],"r":["r"],"s":"services/b"}',
    ]


def test_an_entity_of_several_records_stays_one_line() -> None:
    """What each of them gave is there; for what one record makes, the line is as it was."""
    [_, line] = dump_ledger(Ledger("l", entities={EntityKey("service", "a"): JOINED})).splitlines()
    assert line == (
        b'{"f":{"properties.n":1,"title":"A"},"o":"created","k":["service","a"],"r":["q","r","s"],"s":"policies/p",'
        b'"m":[["policies/p",["q"],["properties.n"]],["services/a",["r","s"],["title"]]]}'
    )


def test_any_cut_is_refused() -> None:
    """A file that lost its end, at whatever byte, is named as damaged and never read as a smaller ledger."""
    data = dump_ledger(TWO)
    codes = {refusal(data[:length])[0] for length in range(len(data))}
    assert codes == {"PD501"}


@given(st.data())
def test_any_edit_is_refused(data: st.DataObject) -> None:
    """One other byte, in the header or below it, does not pass the checksum; at most it makes another version of it."""
    whole = dump_ledger(TWO)
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    assert refusal(whole[:at] + bytes([byte]) + whole[at + 1 :])[0] in ("PD501", "PD502")


@pytest.mark.parametrize(
    "changes", [{"serial": 4}, {"org_id": "other"}, {"lineage": "x"}, {"parent": ""}, {"runs": []}, {"count": 3.0}]
)
def test_an_edited_header_is_refused(changes: dict[str, Any]) -> None:
    """Whose state it is and how old is as safe as what is owned."""
    assert refusal(header(dump_ledger(TWO), **changes))[0] == "PD501"


def test_a_damaged_file_is_named_with_a_way_out() -> None:
    """The error says which file, what is wrong with it and what to do."""
    code, text = refusal(dump_ledger(TWO)[:-5])
    assert (code, "state/ledger.jsonl" in text, "cut or edited" in text) == ("PD501", True, True)


@pytest.mark.parametrize("version", [0, 5, 99, "1", None])
def test_another_version_is_refused(version: object) -> None:
    """An older or newer format is named as such, before anything of it is read."""
    code, text = refusal(header(dump_ledger(TWO), version=version, checksum="whatever a newer one does"))
    assert (code, f"has version {version}, this pdsync reads version 1, 2, 3 and 4" in text) == ("PD502", True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"format":"pdsync-snapshot","version":1}\n',
        b'{"format":"pdsync-ledger","version":1}\n',
        b"\xff\xfe\n",
    ],
)
def test_what_is_no_ledger_is_refused(data: bytes) -> None:
    """Anything else is never an empty ledger, which would mean that nothing is owned."""
    assert refusal(data)[0] == "PD501"


@pytest.mark.parametrize("missing", ["lineage", "serial", "expressions"])
def test_a_header_without_its_parts_is_refused(missing: str) -> None:
    """A header that lost a key is damage, not an accident inside."""
    head, _, body = dump_ledger(TWO).partition(b"\n")
    left = {name: value for name, value in orjson.loads(head).items() if name != missing}
    assert refusal(orjson.dumps(left) + b"\n" + body)[0] == "PD501"


def test_a_header_that_counts_otherwise_is_refused() -> None:
    """The count of entries is held to."""
    assert refusal(header(dump_ledger(TWO), count=2))[0] == "PD501"


def test_lines_of_another_shape_are_refused() -> None:
    """Entries that pass the checksum but are none are damage, too."""
    from pdsync.state.ledger_file import checksum

    body = b'{"b":"service"}\n'
    head, _, _ = dump_ledger(Ledger("l")).partition(b"\n")
    data = header(head + b"\n" + body, version=1, checksum=checksum(body), count=1)
    assert refusal(data)[0] == "PD501"


def test_version_2_knows_nothing_of_parts() -> None:
    """A file from before parts had an origin of their own: each has that of its blueprint, and comes back so."""
    old = parse_ledger((FIXTURES / "ledger-v2.jsonl").read_bytes(), "l")
    origins = {(name, path): origin_of(e, path) for name, e in old.blueprints.items() for path in e.fields}
    assert origins == {
        ("service", "schema.properties.tier"): "adopted",
        ("service", "title"): "adopted",
        ("team", "icon"): "created",
        ("team", "title"): "created",
    }
    assert parse_ledger(dump_ledger(old), "l") == old


def test_version_1_is_read_for_ever() -> None:
    """A file as the first pdsync wrote it; saved anew it is of the present version and says the same."""
    old = parse_ledger((FIXTURES / "ledger-v1.jsonl").read_bytes(), "l")
    assert (old.lineage, old.serial, old.org_id, old.tool, old.runs) == (
        "5eed5eed5eed5eed",
        3,
        "org_1",
        "jq 1.8.1",
        (),
    )
    assert old.expressions == {"mappings/a.yaml#services[0]": {"$identifier": "aa", "title": "bb"}}
    assert {name: entry.origin for name, entry in old.blueprints.items()} == {"service": "created", "team": "adopted"}
    rules = ("mappings/a.yaml#services[0]",)
    fields = {"properties.tags": [1, None, {"a": True}], "relations.team": "t", "title": "Café"}
    assert old.entities == {
        EntityKey("service", "PX1"): LedgerEntry(fields, "created", rules, "services/PX1"),
        EntityKey("service", "PX2"): LedgerEntry(
            {"title": "B"}, "integration", rules, "services/PX2", on_remove="release"
        ),
        EntityKey("team", "t"): LedgerEntry({}, "adopted", source="teams/t", protect=True),
    }
    assert parse_ledger(dump_ledger(old), "l") == old


def test_version_3_is_read_for_ever() -> None:
    """It was the same but for entities of several records, which it did not know."""
    assert parse_ledger((FIXTURES / "ledger-v3.jsonl").read_bytes(), "l") == TWO


@pytest.mark.parametrize("number", [0, -1], ids=["blueprint", "entity"])
def test_a_key_that_stands_twice_is_named(number: int) -> None:
    """Whatever header and checksum say: one of the two would silently win."""
    head, *lines = dump_ledger(TWO).splitlines(keepends=True)
    body = b"".join([*lines, lines[number]])
    told = {name: value for name, value in orjson.loads(head).items() if name != "checksum"} | {"count": 4}
    canonical = orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
    code, text = refusal(header(canonical + body, checksum=checksum(canonical + body)))
    assert (code, "stands in it twice" in text) == ("PD501", True)
