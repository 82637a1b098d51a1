"""What went wrong, said so that a person can mend it.

A problem in a file, a record or an answer is a `Diagnostic`; functions that find problems collect and return
all of them.  An exception is for what stops the work, and carries the diagnostics that explain it:

    PdsyncError                exit 1
     +- UsageError             1   the command line or the environment
     +- CatalogError           1   catalog/ cannot be used
     +- MappingError           1   a mapping could not be evaluated at all
     +- SourceError            1   PagerDuty refused or could not be reached
     |   +- IncompleteSnapshot 7   asked for completeness, did not get it
     +- TargetError            1   Port refused or could not be reached
     +- StateError             1   the state cannot be read or written
     |   +- StalePlan          4   the plan was made on something that has moved
     |   +- Locked             5   somebody else is at work
     |   +- LockLost           5   somebody else has broken our lock
     +- GuardRefused           3   a guard withheld something
     +- PartlyApplied          6   some writes failed; resumable
     +- Interrupted          130   stopped by the user

Codes of diagnostics: PD1xx catalog, PD2xx mapping, PD3xx source, PD4xx target, PD5xx state, PD6xx plan,
PD7xx GitHub, PD8xx command line.  A code never changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Severity(StrEnum):
    """How much a diagnostic matters: only an error makes a command fail."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Origin:
    """A span of text in a catalog file.

    `file` is relative to the folder that holds `catalog/` and uses forward slashes; `line` and `column` count
    from 1; `length` is in characters within the line; `text` is that whole line, for underlining.
    """

    file: str
    line: int = 1
    column: int = 1
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem: what happened, where, the values that mattered, what to do next.

    `summary` is terse, without a full stop and without data from outside; `detail` may quote values (never
    secrets); `hint` is an instruction that can be followed as it stands; `related` are other places that take
    part (the first of two duplicates); `records` are source records, as `services/PX1`, and `more_records` how many
    there are besides.
    """

    severity: Severity
    code: str
    summary: str
    detail: str = ""
    origin: Origin | None = None
    hint: str = ""
    related: tuple[Origin, ...] = ()
    records: tuple[str, ...] = ()
    more_records: int = 0


NAMED_RECORDS = 5


def counted(number: int, what: str) -> str:
    """`1 record`, `2,000 records`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def some_of(records: Iterable[str]) -> dict[str, object]:
    """The first of many records, each once, and how many more there are, as parts of a Diagnostic."""
    each = tuple(dict.fromkeys(records))
    return {"records": each[:NAMED_RECORDS], "more_records": max(0, len(each) - NAMED_RECORDS)}


def error(code: str, summary: str, **parts: object) -> Diagnostic:
    """A Diagnostic of severity error; `parts` are its other fields."""
    return Diagnostic(Severity.ERROR, code, summary, **parts)  # type: ignore[arg-type]


def warning(code: str, summary: str, **parts: object) -> Diagnostic:
    """A Diagnostic of severity warning; `parts` are its other fields."""
    return Diagnostic(Severity.WARNING, code, summary, **parts)  # type: ignore[arg-type]


class PdsyncError(Exception):
    """Something that stops the work; `diagnostics` say what, `exit_code` is what the process ends with."""

    exit_code = 1

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.explain(*diagnostics)

    def explain(self, *diagnostics: Diagnostic) -> None:
        """Say what stopped the work in other words."""
        self.args = ("; ".join(d.summary + (f": {d.detail}" if d.detail else "") for d in diagnostics),)
        self.diagnostics = diagnostics


class UsageError(PdsyncError):
    """The command line or the environment asks for something that cannot be."""


class CatalogError(PdsyncError):
    """catalog/ cannot be used."""


class MappingError(PdsyncError):
    """A mapping could not be evaluated at all."""


class SourceError(PdsyncError):
    """PagerDuty refused or could not be reached."""


class IncompleteSnapshot(SourceError):
    """Completeness was asked for and could not be had."""

    exit_code = 7


class TargetError(PdsyncError):
    """Port refused or could not be reached.

    `doubtful`: what was asked for may have been done all the same.
    """

    doubtful = False


class StateError(PdsyncError):
    """The state cannot be read or written."""


class StalePlan(StateError):
    """The plan was made on something that has moved since; nothing was written."""

    exit_code = 4


class Locked(StateError):
    """Somebody else holds the state's lock."""

    exit_code = 5


class LockLost(StateError):
    """The lock that was held has been broken by somebody else."""

    exit_code = 5


class GuardRefused(PdsyncError):
    """A guard withheld something that was asked for."""

    exit_code = 3


class PartlyApplied(PdsyncError):
    """Some writes failed or were skipped; the rest is done and recorded."""

    exit_code = 6


class Interrupted(PdsyncError):
    """The user stopped the work; what was in flight is finished and recorded."""

    exit_code = 130


def known(problem: BaseException) -> Iterator[PdsyncError]:
    """The errors of ours in a problem or a group of problems; others beside them are left out."""
    if isinstance(problem, PdsyncError):
        yield problem
    elif isinstance(problem, BaseExceptionGroup):
        for part in problem.exceptions:
            yield from known(part)


def first(problem: BaseException) -> BaseException:
    """A problem itself, or the first one of a group of problems."""
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
