"""The traps of jq, as data (traps.yaml): what each expression must come out as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from pdsync.jq.pool import JqLimits, Pool
from pdsync.jq.program import layout_of
from pdsync.jq.tracing import RecordTrace, SlotTrace, trace
from tests.mapping.builders import record, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH = "properties.trap"
_TRAPS: list[dict[str, Any]] = YAML(typ="safe").load(Path(__file__).with_name("traps.yaml"))


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, JqLimits()) as opened:
        yield opened


def _trace(pool: Pool, expression: str, raw: bytes) -> RecordTrace:
    return trace(pool, layout_of(rule({_PATH: expression}, identifier='"x"')), record(raw))


def _slot(traced: RecordTrace) -> SlotTrace:
    return next(slot for slot in traced.rows[0].slots if slot.name == _PATH)


@pytest.mark.parametrize("trap", _TRAPS, ids=lambda trap: trap["name"])
def test_trap(pool: Pool, trap: dict[str, Any]) -> None:
    """Every outcome of an expression is told apart from every other."""
    slot = _slot(_trace(pool, trap["expression"], trap.get("input", '{"a": 1}').encode()))
    assert (trap["state"], trap.get("value")) == (slot.state, slot.value)
    assert type(trap.get("value")) is type(slot.value)
    assert trap.get("reason", "") in slot.reason


@pytest.mark.parametrize("trap", _TRAPS, ids=lambda trap: trap["name"])
def test_trap_leaves_its_neighbours_alone(pool: Pool, trap: dict[str, Any]) -> None:
    """A value or a null reaches the entity, an error makes that one field unknown, and the entity is there."""
    [entity] = _trace(pool, trap["expression"], trap.get("input", '{"a": 1}').encode()).entities
    expected = {} if trap["state"] == "error" else {_PATH: trap.get("value")}
    assert expected == entity.fields
    assert ([_PATH] if trap["state"] == "error" else []) == list(entity.unknown)


def test_broken_utf8_is_replaced(pool: Pool) -> None:
    """A byte that is not UTF-8 costs one character, not the record."""
    assert _slot(_trace(pool, ".t", b'{"t": "a\xff"}')).value == "a\ufffd"


@pytest.mark.parametrize("raw", [b'{"a": ', b"", b'{"a": 1} {"a": 2}', b"[" * 10_500 + b"]" * 10_500])
def test_record_that_is_not_json_fails(pool: Pool, raw: bytes) -> None:
    """A record that is no JSON text fails with its own diagnostic; nothing is made of its first half."""
    traced = _trace(pool, ".a", raw)
    assert traced.entities == ()
    assert [d.code for d in traced.diagnostics] == ["PD240"]
    assert traced.failure.startswith("record: ")


def test_deeply_nested_value(pool: Pool) -> None:
    """Nesting beyond what the quick encoder takes arrives whole."""
    value: Any = 1
    for _ in range(600):
        value = [value]
    assert value == _slot(_trace(pool, "reduce range(600) as $i (1; [.])", b"{}")).value
