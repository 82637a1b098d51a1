"""Laws of mapping, over random expressions and records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jq as libjq
import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.jq.cells import Cell, read_cell
from pdsync.jq.evaluate import answers, isolate
from pdsync.jq.pool import JqLimits, Pool
from pdsync.jq.program import layout_of
from pdsync.jq.reading import Unusable, identifier_of
from pdsync.mapping import expression_digest, map_entities
from tests.mapping.builders import record, rule, snapshot
from tests.mapping.strategies import CONTENTS, EXPRESSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import DesiredEntities, MappingRule, Snapshot

_ROOT = Path(__file__).parent.parent.parent
_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(1, JqLimits()) as opened:
        yield opened


def _alone(expression: str, content: dict[str, Any]) -> Cell:
    """What jq gives for one expression by itself, read straight from the library."""
    outputs: list[Any] = []
    try:
        found = iter(libjq.compile(expression).input_text(json.dumps(content)))
        outputs += (next(found),)
        outputs += (next(found),)
    except StopIteration:
        pass
    except ValueError as error:
        if not outputs:
            return Cell("error", reason=str(error))
        outputs.append(None)
    if not outputs:
        return Cell("none")
    return Cell("several" if len(outputs) > 1 else "null" if outputs[0] is None else "value", outputs[0])


@_SETTINGS
@given(st.lists(EXPRESSIONS, min_size=1, max_size=6), CONTENTS)
def test_one_program_means_what_many_mean(pool: Pool, expressions: list[str], content: dict[str, Any]) -> None:
    """In the combined program every expression gives what it gives alone, whatever its neighbours do."""
    expressions = [text for text in expressions if _compiles(text)]
    layout = layout_of(rule({f"properties.p{n}": text for n, text in enumerate(expressions)}))
    [(_, answer, _)] = answers(pool, layout, {}, [record(content)])
    cells = [read_cell(raw) for raw in answer[1][0][3:]]
    expected = [_alone(text, content) for text in expressions]
    assert [(cell.state, cell.value) for cell in expected] == [(cell.state, cell.value) for cell in cells]


@_SETTINGS
@given(st.lists(EXPRESSIONS, min_size=1, max_size=4), CONTENTS, st.sampled_from(["true", ".a", "empty", ".b == null"]))
def test_isolated_equals_combined(pool: Pool, expressions: list[str], content: dict[str, Any], selector: str) -> None:
    """One expression at a time, as after a stop, gives the answer of the combined program; with items too."""
    fields = {f"properties.p{n}": text for n, text in enumerate(expressions) if _compiles(text)}
    for items in (None, ".c", "[.a, .b]"):
        layout = layout_of(rule(fields, selector=selector, items=items))
        [(_, combined, _)] = answers(pool, layout, {}, [record(content)])
        isolated, stopped = isolate(pool, layout, {}, record(content))
        assert combined == isolated
        assert stopped == {}


def _compiles(text: str) -> bool:
    try:
        libjq.compile(f"def f:\n{text}\n\n; 0")
        libjq.compile(f"[(\n{text}\n\n)]")
    except ValueError:
        return False
    return True


def _world() -> tuple[list[MappingRule], Snapshot]:
    """Enough of everything: batches, errors, collisions, failures, several values, items."""
    contents = [
        {"id": f"s{n % 700}" if n % 50 else f"s {n}", "n": n, "l": [n, n + 1] if n % 3 else n, "t": f"t{n % 7}"}
        for n in range(1000)
    ]
    rules = [
        rule({"title": ".t", "properties.n": ".n", "properties.l": ".l[]"}, selector=".n % 5 != 0"),
        rule({"icon": ".t", "properties.x": ".l | length"}, identifier='.id + "-x"', number=1),
        rule({"title": ".item"}, items=".l", identifier='"\\(.n)-\\(.item)"', number=2),
    ]
    return rules, snapshot(*contents)


def _everything(desired: DesiredEntities) -> tuple[object, ...]:
    return (
        list(desired.entities.items()),
        list(desired.held.items()),
        list(desired.failed.items()),
        desired.diagnostics,
        list(desired.counts.items()),
    )


def test_workers_do_not_matter() -> None:
    """The number of workers changes nothing, not even an order."""
    rules, world = _world()
    one, two, three = (_everything(map_entities(rules, world, workers=n)) for n in (1, 2, 3))
    assert one == two
    assert one == three
    assert all(one[:4])


def test_hash_seed_does_not_matter() -> None:
    """Equal inputs give byte-equal outcomes on every hash seed."""
    program = f"""
import sys; sys.path.insert(0, {str(_ROOT)!r})
from tests.mapping.test_mapping_laws import _everything, _world
from pdsync.mapping import map_entities
print(_everything(map_entities(*_world())))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1


def test_order_of_keys() -> None:
    """Entities, held keys and failures come sorted."""
    desired = map_entities(*_world())
    assert sorted(desired.entities) == list(desired.entities)
    assert sorted(desired.held) == list(desired.held)
    assert sorted(desired.failed) == list(desired.failed)


def test_records_do_not_need_each_other() -> None:
    """Mapping a part of the records gives that part of the entities."""
    mapping = rule({"title": ".t", "properties.e": ".t.x"})
    contents = [{"id": f"s{n}", "t": "x" if n % 2 else None} for n in range(40)]
    whole = map_entities([mapping], snapshot(*contents)).entities
    for n, content in enumerate(contents[:6]):
        [(key, entity)] = map_entities([mapping], snapshot(content)).entities.items()
        assert (whole[key].fields, whole[key].unknown) == (entity.fields, entity.unknown)
        assert f"s{n}" == key.identifier


_known = st.characters(exclude_categories=["Cn", "Cs"])
"""What this Python's Unicode has: `regex` brings a newer one, with letters that are nothing here yet."""


@given(st.text(_known, max_size=6) | st.text("aZ9@_.+:\\/=-é", max_size=4))
def test_identifier_pattern(text: str) -> None:
    """What passes is what Port's own pattern takes, in composed form."""
    import unicodedata

    composed = unicodedata.normalize("NFC", text)
    taken = regex.fullmatch(r"(?!\.{1,2}$)[\p{L}0-9@_.+:\\/=-]+", composed) is not None
    assert (composed if taken else Unusable) == (got if isinstance(got := identifier_of(text), str) else type(got))


def test_letters_are_unicode_letters() -> None:
    r"""`isalpha` and \p{L} are the same class, on every character that this Python knows."""
    import unicodedata

    known = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) not in ("Cn", "Cs", "Co")]
    letters = regex.compile(r"\p{L}")
    assert [c for c in known if c.isalpha() != bool(letters.match(c))] == []


@given(EXPRESSIONS, EXPRESSIONS)
def test_digest_follows_the_text(one: str, other: str) -> None:
    """Digests are equal exactly when the expressions are, path by path."""
    first, second = (expression_digest(rule({"title": text, "icon": ".i"})) for text in (one, other))
    assert (one == other) == (first["title"] == second["title"])
    assert first["icon"] == second["icon"]
    assert {"selector", "identifier", "blueprint", "title", "icon"} == set(first)
