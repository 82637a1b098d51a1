"""Plans whose every text is hostile: to a terminal, to Markdown, to a reader."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from pdsync.model import (
    BlastRadius,
    Cause,
    Change,
    Commit,
    Dependent,
    FieldChange,
    Guard,
    Held,
    Kept,
    Plan,
    PlanBase,
    Summary,
    Withheld,
)
from pdsync.plan.branch import with_branch

TRAPS = (
    "`" * 80,
    f"<b>{'`' * 300}<b>",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\u202egnp.exe",
    "line\r\nbreak\u2028separator",
    "```\n</details>\n# heading\n```",
    "`` ` ```` `",
    "`",
    "<script>alert(1)</script><img src=x onerror=y>",
    "</summary></details>",
    "[link](https://evil.example) ![image](https://evil.example/i.png)",
    "@everyone #1 owner/repo#2 https://evil.example",
    "| a | b |\n|---|---|\n",
    "<!-- hidden -->",
    "\\",
    "\\`",
    "&lt;b&gt;&amp;",
    "~~~\n- [ ] task\n~~~",
    " ",
    "",
    "\x00\x08\x7f\x85",
    "\u200b\ufeff\u2066",
    "::error::owned",
    " \t::add-mask::a",
    "##[error]owned",
    "###[set-env name=a]b",
    "x" * 10_000,
)
HOSTILE = st.one_of(
    st.sampled_from(TRAPS),
    st.lists(st.sampled_from(TRAPS[:-1]), max_size=3).map("".join),
    st.text(max_size=20),
    st.text(alphabet="`~<>|\\\n[]()!*_@#: \x1b", max_size=20),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=2),
    max_leaves=4,
)
CAUSES: st.SearchStrategy[Cause] = st.sampled_from(["catalog", "source", "drift", "tool"])
FIELDS = st.builds(
    FieldChange,
    path=HOSTILE,
    before=VALUES,
    after=VALUES,
    cause=CAUSES,
    origin=HOSTILE,
    drift=st.booleans(),
    deferred=st.booleans(),
)
REASONS = {
    "create": ("new", "gone-from-port", "stub"),
    "update": ("changed", "taken-over"),
    "delete": ("gone-from-source", "unmapped"),
    "adopt": ("equal", "caught-up"),
    "release": ("gone-from-source", "unmapped"),
    "forget": ("gone-from-port", "unmapped"),
}


@st.composite
def changes(draw: st.DrawFn, n: int) -> Change:
    target: Any = draw(st.sampled_from(["entity", "entity", "entity", "blueprint"]))
    actions = sorted(REASONS) if target == "entity" else ["create", "update", "delete", "adopt", "forget"]
    action: Any = draw(st.sampled_from(actions))
    return Change(
        n=n,
        target=target,
        action=action,
        blueprint=draw(HOSTILE),
        identifier=draw(HOSTILE),
        title=draw(HOSTILE),
        fields=tuple(draw(st.lists(FIELDS, min_size=1, max_size=3)))
        if action in ("create", "update", "release")
        else (),
        reason=draw(st.sampled_from(REASONS[action])),
        cause=draw(CAUSES),
        source=draw(HOSTILE),
        twin=draw(st.just("") | HOSTILE) if action in ("create", "delete", "release") else "",
        causes=tuple(draw(st.lists(CAUSES, max_size=3))),
        origin=draw(HOSTILE),
        source_at=draw(HOSTILE),
        edited_by=draw(HOSTILE),
        edited_at=draw(HOSTILE),
    )


BASES = st.builds(
    PlanBase,
    lineage=HOSTILE,
    serial=st.integers(0, 9),
    catalog=HOSTILE,
    commit=HOSTILE,
    snapshot=HOSTILE,
    taken_at=HOSTILE,
    org_id=HOSTILE,
    org_name=HOSTILE,
    source=HOSTILE,
    target=HOSTILE,
    tool=HOSTILE,
)


COMMITS = st.builds(Commit, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
BLASTS = st.none() | st.builds(
    BlastRadius,
    teams=st.lists(HOSTILE, max_size=7).map(tuple),
    dependents=st.lists(st.builds(Dependent, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.booleans()), max_size=7).map(tuple),
    scorecards=st.lists(HOSTILE, max_size=7).map(tuple),
    unknown=st.lists(HOSTILE, max_size=2).map(tuple),
)


@st.composite
def hostile_plans(draw: st.DrawFn, most: int = 8) -> Plan:
    """Plans as they could be read from a file that somebody else wrote; the counts are right."""
    made = tuple(draw(changes(n)) for n in range(1, draw(st.integers(0, most)) + 1))
    withheld = tuple(draw(st.lists(st.builds(Withheld, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE), max_size=3)))
    held = tuple(draw(st.lists(st.builds(Held, HOSTILE, HOSTILE, HOSTILE, HOSTILE), max_size=3)))
    kept = st.builds(Kept, HOSTILE, HOSTILE, st.lists(HOSTILE, max_size=2).map(tuple), HOSTILE, HOSTILE)
    counts = {action: sum(c.action == action for c in made) for action in REASONS}
    plan = Plan(
        base=draw(BASES),
        changes=made,
        withheld=withheld,
        held=held,
        guards=tuple(draw(st.lists(st.builds(Guard, HOSTILE, HOSTILE, HOSTILE, HOSTILE), max_size=2))),
        summary=Summary(**counts, unchanged=3, withheld=len(withheld), held=len(held)),
        expressions={},
        fingerprint="0123456789abcdef",
        blast=draw(BLASTS),
        inexact=draw(HOSTILE),
        kept=tuple(draw(st.lists(kept, max_size=3))),
        commits={c.origin: draw(COMMITS) for c in made},
    )
    return draw(st.just(plan) | beside(plan))


@st.composite
def beside(draw: st.DrawFn, plan: Plan) -> Plan:
    """A plan set beside that of a base, which shares some of its changes and has its own."""
    shared = tuple(change for change in plan.changes if draw(st.booleans()))
    others = tuple(draw(changes(n)) for n in range(draw(st.integers(0, 3))))
    withheld = tuple(each for each in plan.withheld if draw(st.booleans()))
    base = replace(plan, changes=(*shared, *others), withheld=withheld, held=plan.held[:1], guards=())
    return with_branch(plan, base, draw(HOSTILE), draw(HOSTILE))
