"""What Port takes as an identifier (Port API reference, Identifiers)."""

from __future__ import annotations

import re

_PROPERTY = re.compile(r"[A-Za-z0-9@_=\\-]{1,100}")
_MARKS = frozenset("@_.+:\\/-")
_LONGEST_BLUEPRINT, _LONGEST_ENTITY = 100, 1000


def property_problem(identifier: str) -> str:
    """Why this is no identifier of a property or relation; empty when it is one."""
    if _PROPERTY.fullmatch(identifier):
        return ""
    return f'"{identifier}" must be 1 to 100 of A-Z a-z 0-9 @ _ = \\ -'


def blueprint_problem(identifier: str) -> str:
    """Why this is no identifier of a blueprint; empty when it is one."""
    return _problem(identifier, _MARKS, _LONGEST_BLUEPRINT)


def entity_problem(identifier: str) -> str:
    """Why this is no identifier of an entity; empty when it is one."""
    return _problem(identifier, _MARKS | {"="}, _LONGEST_ENTITY)


def _problem(identifier: str, marks: frozenset[str], longest: int) -> str:
    """Letters of any script, digits and some marks; the `.` and `..` of paths are refused."""
    allowed = all(char.isalpha() or char in "0123456789" or char in marks for char in identifier)
    if allowed and 1 <= len(identifier) <= longest and identifier not in {".", ".."}:
        return ""
    return f'"{identifier}" must be 1 to {longest} letters, digits and {" ".join(sorted(marks))}'
