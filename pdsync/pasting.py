"""How an expression stands behind a key of a mapping, so that what a hint proposes can be pasted there."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[.(\w$](?:(?!:(?: |\Z)| #)[ -~])*(?<! )", re.ASCII)
"""What YAML takes for the text that it is, in a block: no sign of its own begins it, and none of them stands in it."""

_ANOTHER_VALUE = re.compile(r"true|false|null|yes|no|on|off|\.inf|\.nan|\.?\d\S*", re.IGNORECASE)
"""What it takes for something else; a number, or a date, of whatever sort begins with a digit."""


def in_yaml(expression: str) -> str:
    """The expression as a YAML value: in single quotes where it would be read as something else without.

    One of several lines is given as it is: it stands in a block, and quotes would join its comments to what follows.
    """
    if "\n" in expression:
        return expression
    if _PLAIN.fullmatch(expression) and not _ANOTHER_VALUE.fullmatch(expression):
        return expression
    return "'" + expression.replace("'", "''") + "'"
