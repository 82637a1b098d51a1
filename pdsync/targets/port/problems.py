"""Port's refusals as diagnostics: what it said, and what to do about it.

PD400  any other refusal          PD406  too large            PD412  an answer that cannot be read
PD401  no answer                  PD407  values refused       PD413  entities move while they are read
PD402  credentials not accepted   PD408  rate limit           PD414  a change without effect
PD403  base URL (transport)       PD409  stopped (transport)  PD415  not allowed
PD404  not there                  PD410  trouble at Port
PD405  exists already             PD411  dependents in the way
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from pdsync.errors import TargetError, error
from pdsync.targets.port.paths import AUTHENTICATION, BLUEPRINTS, ORGANIZATION
from pdsync.transport import ApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

NOT_FOUND: Final = "not_found"
"""Port's code for what does not exist; it may come without a message."""

HAS_DEPENDENTS: Final = "has_dependents"
"""Port's code for a delete that others stand in the way of; its HTTP status is not documented."""


_ABOUT_CONTENT: Final = frozenset({400, 404, 409, 413, 422})


class _Advice(NamedTuple):
    code: str
    summary: str
    hint: str


_CREDENTIALS: Final = _Advice(
    "PD402",
    "Port does not accept the credentials",
    "check PORT_CLIENT_ID and PORT_CLIENT_SECRET, and that PORT_BASE_URL is the region of their organization "
    "(https://api.port.io or https://api.us.port.io)",
)
_VALUES: Final = _Advice(
    "PD407",
    "Port refuses the values",
    "compare them with what Port says: types, enum, pattern, required; types of existing properties cannot change",
)
_SERVER: Final = _Advice("PD410", "Port is in trouble", "try again later; what was done is kept")
_OTHER: Final = _Advice("PD400", "Port refuses the request", "the trace id helps Port's support to find the reason")
_ELSEWHERE: Final = _Advice(
    "PD400",
    "Port is not there",
    "check that PORT_BASE_URL is that of Port's API itself: credentials are not sent on to where an answer points",
)
_NOT_PORT: Final = _Advice(
    "PD404",
    "Port is not there",
    "check that PORT_BASE_URL, or base_url under port in pdsync.yaml, is that of Port's API itself "
    "(https://api.port.io or https://api.us.port.io): what answers there is something else",
)
_ALWAYS_THERE: Final = frozenset({("POST", AUTHENTICATION), ("GET", ORGANIZATION), ("GET", BLUEPRINTS)})
_DEPENDENTS: Final = _Advice(
    "PD411",
    "others in Port still depend on this",
    "remove what depends on it first, in the catalog or in Port; nothing is ever deleted along with it",
)
_ADVICE: Final[Mapping[int, _Advice]] = {
    **dict.fromkeys((301, 302, 303, 307, 308), _ELSEWHERE),
    400: _VALUES,
    401: _CREDENTIALS,
    403: _Advice(
        "PD415",
        "Port does not allow this",
        "use machine credentials of the organization that may read and write its catalog; check its IP allow list",
    ),
    404: _Advice("PD404", "Port does not have this", "make a new plan: somebody may have removed it"),
    408: _SERVER,
    409: _Advice("PD405", "Port has this already", "make a new plan: somebody may have created it"),
    413: _Advice("PD406", "too large for Port", "a request may have 1 MiB: map fewer or shorter properties"),
    422: _VALUES,
    429: _Advice(
        "PD408",
        "Port's rate limit is used up",
        "run again in five minutes; other integrations draw on the same limit of the organization",
    ),
}


def as_target_error(problem: ApiError | Unreachable) -> TargetError:
    """What the transport met, as the error that commands report; Port's code, message and trace id are kept."""
    if isinstance(problem, Unreachable):
        return _doubtful(TargetError(*problem.diagnostics), doubtful=problem.sent)
    advice = _advice(problem)
    told = TargetError(error(advice.code, advice.summary, detail=_said(problem), hint=advice.hint))
    return _doubtful(told, doubtful=problem.doubtful and not is_about_content(problem))


def is_about_content(answer: ApiError) -> bool:
    """Whether something in the request is the reason for a refusal, so that other requests may fare better."""
    return answer.status in _ABOUT_CONTENT or answer.code == HAS_DEPENDENTS


class Unreadable(TargetError):
    """An answer cannot be read."""


def unreadable(what: str, detail: str, *, doubtful: bool = False) -> Unreadable:
    """An answer that is not of the documented shape; nothing is concluded from it."""
    hint = "check that PORT_BASE_URL is Port's API and not a proxy or a web page"
    what_was_said = error("PD412", "Port gave an answer that cannot be read", detail=f"{what}: {detail}", hint=hint)
    problem = Unreadable(what_was_said)
    problem.doubtful = doubtful
    return problem


def _doubtful(problem: TargetError, *, doubtful: bool) -> TargetError:
    problem.doubtful = doubtful
    return problem


def unsettled(blueprint: str, seen: int, counted: int) -> TargetError:
    """Entities came and went while their pages were read, so that none may be taken for absent."""
    detail = f"{blueprint}: {seen} entities read, {counted} counted"
    hint = "run again when nobody else is writing many entities of this blueprint"
    return TargetError(error("PD413", "entities changed while they were read", detail=detail, hint=hint))


def without_effect(blueprint: str, paths: list[str]) -> TargetError:
    """Port took a change and did not make it."""
    hint = "system blueprints may only be added to; remove these parts in Port's own pages"
    detail = f"{blueprint}: {', '.join(paths)}"
    return TargetError(error("PD414", "Port did not remove this from the blueprint", detail=detail, hint=hint))


def refusal(problem: ApiError) -> str:
    """One line about a refused write, for the entity it concerns: `not_found: message (404)`."""
    return say(problem.status, problem.code, problem.message) + problem.given_up


def say(status: object, code: str, message: str) -> str:
    """Port's code and message on one line, with the status."""
    said = ": ".join(part for part in (code, " ".join(message.split())) if part)
    return f"{said or 'no reason given'} ({status})"


def _advice(problem: ApiError) -> _Advice:
    if problem.code == HAS_DEPENDENTS:
        return _DEPENDENTS
    is_silent = not (problem.code or problem.message)  # Port would say what it does not find
    if problem.status == HTTPStatus.NOT_FOUND and (is_silent or (problem.method, problem.path) in _ALWAYS_THERE):
        return _NOT_PORT
    return _ADVICE.get(problem.status) or (_SERVER if problem.status in range(500, 600) else _OTHER)


def _said(problem: ApiError) -> str:
    trace = f", trace id {problem.trace_id}" if problem.trace_id else ""
    return f"{problem.method} {problem.path}: {refusal(problem)}{trace}"
