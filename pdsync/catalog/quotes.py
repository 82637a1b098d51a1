"""Single quotes in mappings: what Port's integration turns into double quotes before jq sees it."""

from __future__ import annotations


def double_quoted(expression: str) -> str:
    """`expression` with the single quotes that delimit strings replaced, one character for one.

    A quote opens at the start or after whitespace, if neither whitespace nor a double quote follows; it closes
    before whitespace or at the end, if neither precedes.  A closing quote takes its whitespace with it, so that
    the next quote does not open: `'a' 'b'` becomes `"a" 'b"` (Port's PagerDuty integration, jq entity processor).
    """
    if "'" not in expression:
        return expression
    text = list(expression)
    taken = -1
    for place, character in enumerate(expression):
        if character != "'":
            continue
        before, after = expression[place - 1 : place], expression[place + 1 : place + 2]
        if _opens(before, after, whitespace_is_free=place - 1 != taken):
            text[place] = '"'
        elif _closes(before, after):
            text[place] = '"'
            taken = place + 1
    return "".join(text)


def _opens(before: str, after: str, *, whitespace_is_free: bool) -> bool:
    at_start = not before or (before.isspace() and whitespace_is_free)
    return at_start and not after.isspace() and after != '"'


def _closes(before: str, after: str) -> bool:
    return bool(before) and not before.isspace() and before != '"' and (not after or after.isspace())
