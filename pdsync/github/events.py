"""Which event this is, and what the action does for it.

| event | does | comments |
|---|---|---|
| `pull_request` (not `closed`) | plan | yes |
| the same from a fork or by Dependabot, without secrets | validate | no |
| `pull_request` `closed` | nothing: a merge is a push | no |
| `merge_group` | check: plan, so that a required check reports in the queue | no |
| `push` to the default branch | apply | on the pull request it came from |
| `push` elsewhere | plan | no |
| `schedule` | drift: plan and report | no |
| `workflow_dispatch` | its input `command`, else plan | no |
| `pull_request_target` | refused | |
| anything else | refused, unless the input `command` says what to do | |

(GitHub documentation, Events that trigger workflows.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pdsync.errors import UsageError, error
from pdsync.github.settings import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.github.settings import Runner

DEPENDABOT = "dependabot[bot]"


class Mode(StrEnum):
    """What the action does this time."""

    PLAN = "plan"
    APPLY = "apply"
    DRIFT = "drift"
    CHECK = "check"
    VALIDATE = "validate"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Event:
    """The part of an event's payload that matters; `head_sha` is the commit a person pushed."""

    name: str
    action: str = ""
    ref: str = ""
    sha: str = ""
    number: int | None = None
    head_sha: str = ""
    base_sha: str = ""
    default_branch: str = ""
    repository_id: int = 0
    fork: bool = False
    deleted: bool = False
    actor: str = ""
    message: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why, in one sentence.

    `comment_on` is the pull request that is told, if known already; `base` the commit that it is to be merged into;
    `branch` the one whose push is applied.
    """

    mode: Mode
    why: str
    comment_on: int | None = None
    base: str = ""
    branch: str = ""


def parse_event(runner: Runner, payload: Mapping[str, Any]) -> Event:
    """The event of this run.  A payload may be empty: some self-hosted runners lose the file."""
    pull = _part(payload, "pull_request")
    head, base = _part(pull, "head"), _part(pull, "base")
    repository = _part(payload, "repository")
    origin, home = _part(head, "repo").get("id"), repository.get("id")
    return Event(
        name=runner.event_name,
        action=_word(payload.get("action")),
        ref=runner.ref,
        sha=runner.sha,
        number=_number(payload, runner.ref),
        head_sha=_word(head.get("sha")) or runner.sha,
        base_sha=_word(base.get("sha")) or _word(payload.get("before")),
        default_branch=_word(repository.get("default_branch")),
        repository_id=home if isinstance(home, int) else 0,
        fork=bool(pull) and origin != home,
        deleted=payload.get("deleted") is True,
        actor=runner.actor,
        message=_word(_part(payload, "head_commit").get("message")),
        command=_word(_part(payload, "inputs").get("command")),
    )


def decide(event: Event, command: str, missing: tuple[str, ...]) -> Decision:
    """What to do for `event` under the input `command` when the credentials `missing` were not given.

    Raises `UsageError` for an event that must not or cannot be served, and for missing credentials that nothing
    excuses.
    """
    if event.name == "pull_request_target":
        raise UsageError(_refuse_target())
    wanted = _by_event(event) if command == "auto" else _by_command(event, command)
    if not missing or wanted.mode in {Mode.NOTHING, Mode.VALIDATE}:
        return wanted
    excuse = _excuse(event)
    if excuse and wanted.mode is not Mode.APPLY:  # what should be applied and is not, is no success
        return Decision(Mode.VALIDATE, f"{excuse}: the catalog is validated, nothing is planned")
    raise UsageError(_missing(missing))


def _by_command(event: Event, command: str) -> Decision:
    of_pull = event.name == "pull_request" and command == "plan"
    told = (event.number, event.base_sha) if of_pull else (None, "")
    pushed = event.name == "push" and event.ref.startswith("refs/heads/")
    branch = event.ref.removeprefix("refs/heads/") if pushed else ""  # of a tag, somebody wants just that commit
    return Decision(Mode(command), f"the input command says {command}", *told, branch)


def _by_event(event: Event) -> Decision:
    rule = RULES.get(event.name)
    if rule is None:
        raise UsageError(
            error(
                "PD703",
                "this event is not served",
                detail=f"{event.name or 'no event'} has no meaning for command: auto",
                hint="Remove the trigger from the workflow, or set the input command.",
            )
        )
    return rule(event)


def _pull_request(event: Event) -> Decision:
    if event.action == "closed":
        return Decision(Mode.NOTHING, "the pull request was closed; a merge is applied by its push")
    return Decision(Mode.PLAN, f"pull request {event.number}", event.number, event.base_sha)


def _push(event: Event) -> Decision:
    if event.deleted:
        return Decision(Mode.NOTHING, "the branch was deleted")
    if event.default_branch and event.ref == f"refs/heads/{event.default_branch}":
        return Decision(Mode.APPLY, "push to the default branch", branch=event.default_branch)
    return Decision(Mode.PLAN, "push to a branch that is not the default one")


def _dispatch(event: Event) -> Decision:
    if event.command in COMMANDS[1:]:
        return Decision(Mode(event.command), f"started by hand with command {event.command}")
    return Decision(Mode.PLAN, "started by hand")


RULES = {
    "pull_request": _pull_request,
    "push": _push,
    "merge_group": lambda _: Decision(Mode.CHECK, "merge queue"),
    "schedule": lambda _: Decision(Mode.DRIFT, "schedule"),
    "workflow_dispatch": _dispatch,
}


def _excuse(event: Event) -> str:
    if event.name == "pull_request" and event.fork:
        return "a pull request from a fork gets no secrets"
    if event.actor == DEPENDABOT:
        return "Dependabot's runs get only Dependabot secrets"
    return ""


def _refuse_target() -> Any:
    return error(
        "PD702",
        "pull_request_target is refused",
        detail="it hands secrets and a writing token to a run whose files a stranger may have written",
        hint="Use on: pull_request. From forks it validates the catalog without any secret.",
    )


def _missing(missing: tuple[str, ...]) -> Any:
    lines = "\n".join(f"  {name}: ${{{{ secrets.{name.upper().replace('-', '_')} }}}}" for name in missing)
    return error(
        "PD704",
        "credentials are missing",
        detail=f"no value for {', '.join(missing)}; a secret that does not exist is passed as an empty string",
        hint=f"Add the secrets to the repository and hand them to the action:\nwith:\n{lines}",
    )


def _part(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = mapping.get(name)
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(payload: Mapping[str, Any], ref: str) -> int | None:
    found = payload.get("number") or _part(payload, "pull_request").get("number")
    if isinstance(found, int):
        return found
    matched = re.fullmatch(r"refs/pull/([0-9]+)/merge", ref)
    return int(matched[1]) if matched else None
