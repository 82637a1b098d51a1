"""What is told from an expression's text about the record makes it faster, and no difference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jq as libjq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdsync.jq.excerpt import excerpt_of
from pdsync.jq.plain import Plain
from pdsync.jq.program import Slot
from pdsync.jq.reads import Wanted, wanted_by
from tests.mapping.builders import jq
from tests.mapping.strategies import EXPRESSIONS, VALUES

if TYPE_CHECKING:
    from pdsync.model import Json

_MANY = settings(max_examples=400, deadline=None)

# --- random paths through random records -----------------------------------------------------------------------

_paths = st.lists(st.sampled_from([".a", ".b", ".c", '.["a"]', '."b"', ".c?"]), min_size=1, max_size=3).map("".join)
_ends = _paths | st.sampled_from(
    (".", "..", "$v", "$v.a", "$v.b.c", "1", "-1", ".a[]?", '"\\(.a.b) \\(.c)"', "@json", 'has("a")', '.b | has("a")',
     'getpath(["a", "b"])', "# .c\n.a")
)  # fmt: skip
_twos = (
    "{} | {}", "{}, {}", "{} // {}", "{} + {}", "{} == {}", "{} and {}", "{} as $v | {}", "select({}) | {}",
    "if {} then {} else . end", "if {} then {} end", "try {} catch {}", "{{x: ({}), $v}} | {}", "[{}] | map({})",
    "reduce ({}) as $v (0; {})", "foreach ({}) as $v (0; {}; .)", "first({}, {})", "limit(1; {}) | {}", "{} |= {}",
    "[({})[{}]?]", "isempty({}) or {}", "{{a, b: {}}} | {}", "{} | error({})", "(-{}) // {}", "any({}; {})",
    "all({}; {})", "any({}) or {}", "def f: {}; ({} | f), f", "def f: {}; def g: f | {}; .a | g",
    "{} as [$v, {{a: $w}}] | {}", "def f: {} | .b; path(f), {}", "{} | getpath([{}])", "{} | has({})",
)  # fmt: skip
_texts = st.recursive(
    _ends,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(_twos), inner, inner).map(lambda t: t[0].format(f"({t[1]})", f"({t[2]})")),
        st.tuples(st.sampled_from(_twos), _ends, inner).map(lambda t: t[0].format(t[1], t[2])),
    ),
    max_leaves=6,
).map(lambda text: f". as $v | {text}" if "$v" in text else text)
_objects = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
_records = st.dictionaries(st.sampled_from("abcd"), _objects | VALUES, max_size=4)


def _outcome(text: str, record: str) -> tuple[list[Json], str]:
    """All that jq says of a record, which it must not say of itself."""
    outputs: list[Json] = []
    try:
        for output in libjq.compile(text).input_text(record):
            outputs.append(output)
            if len(outputs) == 9:
                break
    except ValueError as error:
        return outputs, str(error)
    return outputs, ""


def _compiles(text: str) -> bool:
    try:
        libjq.compile(text).input_text("0")
    except ValueError:
        return False
    return True


@_MANY
@given(_texts | EXPRESSIONS, _records | VALUES)
@example(".a.b | .c", {"a": "text"})
@example("(.a // .b) | .c", {"a": False, "b": {"c": 1}})
@example(". as $v | .a.x | $v.b", {"a": 1, "b": 2})
@example(".a as $v | $v.b, ($v | .c)", {"a": {"b": 1, "c": 2, "d": 3}})
@example("try .a.b catch .", {"a": [1]})
def test_the_excerpt_is_as_good_as_the_record(text: str, content: Json) -> None:
    """Whatever an expression gives or says for a record, it gives and says for what is read of it."""
    raw = json.dumps(content)
    excerpt = excerpt_of(wanted_by([text]))
    if excerpt and _compiles(text):
        assert repr(_outcome(text, raw)) == repr(_outcome(text, excerpt(raw.encode()).decode()))


@_MANY
@given(st.lists(_paths, min_size=1, max_size=3), _records)
def test_an_excerpt_holds_nothing_else(texts: list[str], content: dict[str, Any]) -> None:
    """Of an object there is what some path leads to or through, unless a path leads through something else."""
    excerpt = excerpt_of(wanted_by([*texts, ".z"]))
    assert excerpt
    raw = json.dumps(content).encode()
    assert excerpt(raw) == raw or excerpt(raw) == excerpt(json.dumps({**content, "d": 1}).encode())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (".a", {"a": True}),
        (".a.b", {"a": {"b": True}}),
        (' .a [ "b" ] . "c d" ?', {"a": {"b": {"c d": True}}}),
        (".a.b, .a", {"a": True}),
        (".a | .b // .c", {"a": {"b": True, "c": True}}),
        (".a[] | .b", {"a": True}),
        (".a[.b]", {"a": True, "b": True}),
        ("[.a.b | tostring]", {"a": {"b": True}}),
        ('.a.b | test("x"; "i")', {"a": {"b": True}}),
        ("[.a, .b.c] | join(.d)", {"a": True, "b": {"c": True}}),
        ("{a, b: .c.d, (.e): 1}", {"a": True, "c": {"d": True}, "e": True}),
        ('"\\(.a.b): \\("\\(.c)")"', {"a": {"b": True}, "c": True}),
        ('@base64 "\\(.a)"', {"a": True}),
        ("if .a then .b elif .c then .d else .e end", dict.fromkeys("abcde", True)),
        ("select(.a.b == 1) | .c", {"a": {"b": True}, "c": True}),
        (".a as $x | .b | . + $x.c", {"a": {"c": True}, "b": True}),
        ("reduce .a[] as $x (0; . + $x.b)", {"a": True}),
        ("try .a catch .b", {"a": True}),
        ("first(.a, .b) | .c", {"a": {"c": True}, "b": {"c": True}}),
        ("-.a - -.b", {"a": True, "b": True}),
        ("1, null, empty", {}),
        (".a # .b\n| .c # .d", {"a": {"c": True}}),
        ("any(.a.b, .c; .d)", {"a": {"b": {"d": True}}, "c": {"d": True}}),
        ("all(.a[]; .b)", {"a": True}),
        ('.a | has("b")', {"a": {"b": True}}),
        ('getpath( ["a", "b c"] ) | .d', {"a": {"b c": {"d": True}}}),
        (".a as [$x, {b: $y, $z}] | $x + $y + $z + .c", {"a": True, "c": True}),
        ("reduce .a[] as {b: $x} (0; . + $x)", {"a": True}),
        ("def f: .b; .a | f, (.c | f)", {"a": {"b": True, "c": {"b": True}}}),
        (".e as $x | def f: $x.b; def g: f, .c; .d | g", {"e": {"b": True}, "d": {"c": True}}),
        ("def f: .a; def g: f; def f: .b; g, f", {"a": True, "b": True}),
        *(
            (text, True)
            for text in (
                ".", "..", "keys", "[.]", "{x: .}", "to_entries", "map(.a)", ".[]", ".[0]", ".[.a]", "select(.a)",
                "if .a then .b end", ". as $x | $x", ". == .a", 'getpath(["a", .b])', "@json", "del(.a)", ".a = 1",
                "def f(g): .a; f(1)", "def f: .a, f; f", "label $x | .a", ".a # a \\ in it", ". as {a: $x} | $x",
                ".a?//1", "$ENV.a", ".a |", "", ".a)", '"\\(.a', '."\\(.a)"', "any(.a)", "has(.a)", "getpath([])", ".a as {(.b): $x} | $x",
                ".a as [$x] ?// $x | $x", "lib::f", "{a b}", "try", "éa",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_read(text: str, wanted: Json) -> None:
    """The values that an expression reads, and those on the way to them."""
    assert wanted == _told(wanted_by([text]))


def _told(wanted: Wanted) -> Json:
    return wanted.whole or {name: _told(member) for name, member in wanted.members.items()}


def test_any_nesting_is_survived() -> None:
    """A text that is nested too deeply to be followed reads the whole record; so do functions that call too many."""
    assert wanted_by(["(" * 100_000 + ".a" + ")" * 100_000]).whole
    calls = "def f0: .a; " + "".join(f"def f{n + 1}: f{n}, f{n}; " for n in range(40))
    assert wanted_by([f"{calls} f40"]).whole


@pytest.mark.parametrize("name", ["a b", "", "é", "\\", "a\nb", "\0"])
def test_any_name_is_cut_out(name: str) -> None:
    """Names that cannot be spelled as a path are no trouble."""
    excerpt = excerpt_of(wanted_by([f"{json.dumps({'x': 1})[:-1]}, y: .[{json.dumps(name, ensure_ascii=False)}]}}"]))
    raw = json.dumps({"z": 0, name: 1}).encode()
    assert excerpt is None or json.loads(excerpt(raw)) == {name: 1}


# --- plain expressions -----------------------------------------------------------------------------------------

_numbers = ["1.0", "-0", "-0.0", "1e2", "1.5", "9007199254740991", "9007199254740993", "-9007199254740992", "1e400"]
_raw_values = st.sampled_from(
    [*_numbers, '"\\u0041\\n"', '"\\ud83d\\ude42"', '"\\ud800"', '"\\u0000"', "nan", '"', "[1, 1.0]", "{}", "null"]
) | VALUES.map(json.dumps)
_names = st.sampled_from(['"a"', '"a"', '"b"', '"\\u0062"', '"c"', '"é"'])
_raw_objects = st.recursive(
    _raw_values,
    lambda inner: st.lists(st.tuples(_names, inner).map(": ".join), max_size=4).map(lambda m: f"{{{', '.join(m)}}}"),
    max_leaves=8,
)
_plain = st.sampled_from(
    (".a", " .b ", ".c", ".a.b", ".b.c", ".a.b.c", ".a | tostring", ".b|tostring", ".and", ".a.b | tostring", ".a.[0]",
     ".a + .b", ". | tostring", "tostring", '"x"', '"é\n"', "true", "false", "null", "0", "007", "123456789012345")
)  # fmt: skip


@_MANY
@given(st.lists(_plain, min_size=1, max_size=4), _raw_objects)
def test_plain_is_what_jq_says(texts: list[str], raw: str) -> None:
    """What is read from a record without jq is what jq gives for it, to the type of a number."""
    plain = Plain(_slots(texts))
    values = plain.read(raw.encode())
    for name, value in zip(plain.names, values or [], strict=values is not None):
        assert repr(([value], "")) == repr(_outcome(texts[int(name)], raw))


def _slots(texts: list[str]) -> list[Slot]:
    return [Slot(str(number), "", jq(text)) for number, text in enumerate(texts)]


def test_broken_characters_are_left_to_jq() -> None:
    """A byte that is not UTF-8 is of no matter where nobody looks, and for jq to replace where somebody does."""
    plain = Plain(_slots([".a"]))
    assert plain.read(b'{"a": "x", "b": "\xff"}') == ["x"]
    assert plain.read(b'{"a": "\xff"}') is None


def test_what_is_often_not_plain_is_left_to_jq() -> None:
    """A path to lists keeps no other from being read; one list does nothing, nor does a record that is no JSON."""
    plain = Plain(_slots([".a", ".b", '"x"']))
    assert plain.read(b'{"a": []}') is None
    assert [plain.read(b"{") for _ in range(20)] == [None] * 20
    assert plain.read(b'{"a": 1}') == [1, None, "x"]
    for _ in range(20):
        plain.read(b'{"a": [], "b": 2}')
    assert (plain.names, plain.read(b'{"a": [], "b": 2}')) == (("1", "2"), [2, "x"])
