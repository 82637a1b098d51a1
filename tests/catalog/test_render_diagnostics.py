"""Diagnostics in four formats; nothing in them gets out of its place."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.errors import Diagnostic, Origin, Severity
from pdsync.render.diagnostics import MOST_ANNOTATIONS, Format, render_diagnostics

HOSTILE = st.text() | st.sampled_from(
    ["a\n::error::x", "##[group]x", "\x1b[31mred", "\u202egnp.exe", "100%", "a,b:c=d", "\r\n::stop-commands::x", "`x`"]
)
ORIGINS = st.builds(Origin, HOSTILE, st.integers(1, 9999), st.integers(1, 400), st.integers(1, 400), HOSTILE)
DIAGNOSTICS = st.builds(
    Diagnostic,
    st.sampled_from(list(Severity)),
    st.sampled_from(["PD101", "PD157"]),
    HOSTILE,
    HOSTILE,
    ORIGINS | st.none(),
    HOSTILE,
    st.lists(ORIGINS, max_size=8).map(tuple),
    st.lists(HOSTILE, max_size=8).map(tuple),
)
ONE = Diagnostic(
    Severity.ERROR,
    "PD157",
    "blueprint does not have this",
    "first line\nsecond: line, 100%",
    Origin("catalog/mappings/a b.yaml", 12, 3, 4, "  title: .x"),
    "rename it",
    (Origin("catalog/blueprints/s.yaml", 1, 2),),
    ("services/PX1", "services/PX2"),
)


def test_text() -> None:
    """Severity, code and summary; place; the line with the span underlined; detail; other places; records; hint."""
    assert render_diagnostics([ONE], "text", color=False) == (
        "error[PD157]: blueprint does not have this\n"
        "  --> catalog/mappings/a b.yaml:12:3\n"
        "   |\n"
        "12 |   title: .x\n"
        "   |   ^^^^\n"
        "   = first line\n"
        "   = second: line, 100%\n"
        "   = see catalog/blueprints/s.yaml:1:2\n"
        "   = records: services/PX1, services/PX2\n"
        "   = hint: rename it\n"
    )


def test_text_without_a_place_and_with_a_count() -> None:
    """Problems of other commands have no file; several problems are counted."""
    plain = Diagnostic(Severity.WARNING, "PD301", "PagerDuty is slow", hint="wait")
    assert render_diagnostics([plain, plain], "text", color=False) == (
        "warning[PD301]: PagerDuty is slow\n = hint: wait\n\nwarning[PD301]: PagerDuty is slow\n = hint: wait\n\n2 warnings\n"
    )


@pytest.mark.parametrize("form", ["text", "github"])
def test_nothing_to_say_is_said_by_nothing(form: Format) -> None:
    """So that an empty list prints no blank line."""
    assert render_diagnostics([], form, color=True) == ""


def test_wide_characters_are_underlined_in_their_width() -> None:
    """A terminal gives them two columns."""
    place = Origin("c", 1, 3, 2, "ab日本c")
    text = render_diagnostics([Diagnostic(Severity.NOTE, "PD1", "x", origin=place)], "text", color=False)
    assert text.splitlines()[3:] == ["1 | ab日本c", "  |   ^^^^"]


@given(st.lists(DIAGNOSTICS, max_size=4))
def test_color_only_adds_color(diagnostics: list[Diagnostic]) -> None:
    """Without the colours it is the same text: colour never says what a word does not."""
    colored = render_diagnostics(diagnostics, "text", color=True)
    assert re.sub(r"\x1b\[\d+m", "", colored) == render_diagnostics(diagnostics, "text", color=False)


@given(st.lists(DIAGNOSTICS, max_size=4))
def test_text_cannot_be_broken_out_of(diagnostics: list[Diagnostic]) -> None:
    """No control, format or separator character gets through, no line can be a command to GitHub's runner."""
    text = render_diagnostics(diagnostics, "text", color=False)
    assert {unicodedata.category(char) for char in text.replace("\n", "")} & {"Cc", "Cf", "Zl", "Zp", "Cs"} == set()
    assert [line for line in text.splitlines() if line.strip().startswith("::") or "##[" in line] == []


COMMAND = re.compile(r"::(error|warning|notice) ([^\n]*?)::([^\n]*)")


@given(st.lists(DIAGNOSTICS, max_size=30))
def test_github_gets_one_command_a_line_and_loses_none_silently(diagnostics: list[Diagnostic]) -> None:
    """At most ten of a level; the tenth says how many are left out."""
    lines = render_diagnostics(diagnostics, "github", color=False).splitlines()
    assert [line for line in lines if not COMMAND.fullmatch(line) or "\r" in line] == []
    for severity, level in (("error", "error"), ("warning", "warning"), ("note", "notice")):
        had = sum(d.severity == severity for d in diagnostics)
        mine = [line for line in lines if line.startswith(f"::{level} ")]
        assert len(mine) == min(had, MOST_ANNOTATIONS)
        more = re.search(r"::and (\d+) more", mine[-1]) if had > MOST_ANNOTATIONS else None
        assert (int(more[1]) if more else 0) == max(0, had - MOST_ANNOTATIONS + 1 if had > MOST_ANNOTATIONS else 0)


def test_github() -> None:
    """Values are escaped as the runner reads them."""
    assert render_diagnostics([ONE], "github", color=False) == (
        "::error file=catalog/mappings/a b.yaml,line=12,endLine=12,col=3,endColumn=7,"
        "title=PD157 blueprint does not have this::first line%0Asecond: line, 100%25%0A"
        "see catalog/blueprints/s.yaml:1:2%0Arecords: services/PX1, services/PX2%0Ahint: rename it\n"
    )


ENCODABLE = st.lists(DIAGNOSTICS, max_size=5).filter(lambda ds: not any("\ud800" <= c <= "\udfff" for c in str(ds)))


@given(ENCODABLE)
def test_json_holds_everything(diagnostics: list[Diagnostic]) -> None:
    """Nothing is made visible or cut: machines read it."""
    read = json.loads(render_diagnostics(diagnostics, "json", color=False))
    assert [
        (d["severity"], d["code"], d["summary"], d["detail"], d["hint"], d["records"]) for d in read["diagnostics"]
    ] == [(str(d.severity), d.code, d.summary, d.detail, d.hint, list(d.records)) for d in diagnostics]
    assert sum(read["summary"].values()) == len(diagnostics)


REGION = {
    "type": "object",
    "properties": {key: {"type": "integer", "minimum": 1} for key in ("startLine", "startColumn", "endColumn")},
    "additionalProperties": False,
}
LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "properties": {"uri": {"type": "string", "pattern": r"^[A-Za-z0-9%/._~-]*$"}},
                    "additionalProperties": False,
                },
                "region": REGION,
            },
            "additionalProperties": False,
        }
    },
    "additionalProperties": False,
}
TEXT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string"}},
    "additionalProperties": False,
}
SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "pattern": "^https://"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": {"type": "string"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {"id": {"type": "string"}, "shortDescription": TEXT},
                                            "additionalProperties": False,
                                        },
                                    },
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "locations": {"type": "array", "items": LOCATION},
                                "relatedLocations": {"type": "array", "items": LOCATION, "uniqueItems": True},
                            },
                            "additionalProperties": False,
                        },
                    },
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}
"""The part of the SARIF 2.1.0 format that is used, no key beyond it (OASIS, Static Analysis Results)."""


@given(ENCODABLE)
def test_sarif_is_of_version_2_1_0(diagnostics: list[Diagnostic]) -> None:
    """Of the form that code scanning takes, each result under the rule of its code."""
    log = json.loads(render_diagnostics(diagnostics, "sarif", color=False))
    assert [error.message for error in jsonschema.Draft202012Validator(SARIF).iter_errors(log)] == []
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == [d.code for d in diagnostics]
