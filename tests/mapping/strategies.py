"""Random records and jq expressions."""

from __future__ import annotations

from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(-4, 4).map(lambda x: round(x, 1))
    | st.text("aé🙂\0", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
CONTENTS = st.dictionaries(st.sampled_from(["a", "b", "c", "__analytics"]), VALUES, max_size=4)

_atoms = st.sampled_from(
    [
        *(".", ".a", ".b", ".c.a", ".a[0]", ".b[]?", ".[]?", "..", "null", "false", '"x"', "0", "1.0", "[]", "{}"),
        *(
            "empty",
            'error("e")',
            "error(null)",
            "error({a: 1})",
            ".a.b.c",
            "(.a, .b)",
            ".__analytics.a",
            "keys",
            "length",
        ),
        *("tostring", "tojson", "add", "first", "type", "not", ".a # comment", ".b # comment \\", '"\\(.a)-\\(.b)"'),
        *("def f: .a; f", "def first: 1; first", "label $out | 1, break $out", "$__prog_args?"),
    ]
)
EXPRESSIONS = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["|", ",", "//", "+", "==", "and", "-"]), inner).map(
            lambda t: f"({t[0]}\n) {t[1]} ({t[2]}\n)"
        ),
        inner.map(lambda e: f"[{e}\n]"),
        inner.map(lambda e: f"try ({e}\n) catch ."),
        inner.map(lambda e: f"({e}\n)?"),
        inner.map(lambda e: f"map({e}\n)"),
        inner.map(lambda e: f"first({e}\n)"),
        inner.map(lambda e: f"{{x: ({e}\n)}}"),
        inner.map(lambda e: f"reduce ({e}\n) as $x (0; . + 1)"),
        st.tuples(inner, inner, inner).map(lambda t: f"if ({t[0]}\n) then ({t[1]}\n) else ({t[2]}\n) end"),
    ),
    max_leaves=5,
)
