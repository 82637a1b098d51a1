"""What the action does for each event."""

from __future__ import annotations

from typing import Any

import pytest

from pdsync.errors import UsageError
from pdsync.github.events import Decision, Mode, decide, parse_event
from pdsync.github.settings import Runner

HOME = {"id": 1, "default_branch": "main"}
MISSING = ("port-client-id",)


def pull(action: str, head_repo: int | None = 1) -> dict[str, Any]:
    head = {"sha": "head", "repo": {"id": head_repo} if head_repo else None}
    return {
        "action": action,
        "number": 7,
        "pull_request": {"number": 7, "head": head, "base": {"sha": "base", "ref": "main"}},
        "repository": HOME,
    }


def push(**parts: Any) -> dict[str, Any]:
    return {"repository": HOME, "before": "b", "head_commit": {"message": "Add a service (#7)"}, **parts}


def decided(
    name: str,
    payload: dict[str, Any],
    command: str = "auto",
    *,
    ref: str = "",
    missing: tuple[str, ...] = (),
    actor: str = "someone",
) -> Decision:
    event = parse_event(Runner(event_name=name, ref=ref, sha="merge", actor=actor), payload)
    return decide(event, command, missing)


@pytest.mark.parametrize(
    ("name", "payload", "ref", "mode", "comment_on"),
    [
        ("pull_request", pull("opened"), "refs/pull/7/merge", Mode.PLAN, 7),
        ("pull_request", pull("synchronize"), "refs/pull/7/merge", Mode.PLAN, 7),
        ("pull_request", pull("reopened"), "refs/pull/7/merge", Mode.PLAN, 7),
        ("pull_request", pull("closed"), "refs/pull/7/merge", Mode.NOTHING, None),
        ("pull_request", {}, "refs/pull/9/merge", Mode.PLAN, 9),
        ("merge_group", {"repository": HOME}, "refs/heads/gh-readonly-queue/main/pr-7-a", Mode.CHECK, None),
        ("push", push(), "refs/heads/main", Mode.APPLY, None),
        ("push", push(), "refs/heads/feature", Mode.PLAN, None),
        ("push", push(), "refs/tags/v1", Mode.PLAN, None),
        ("push", push(deleted=True), "refs/heads/main", Mode.NOTHING, None),
        ("push", {}, "refs/heads/main", Mode.PLAN, None),
        ("schedule", {"repository": HOME}, "refs/heads/main", Mode.DRIFT, None),
        ("workflow_dispatch", {"inputs": None, "repository": HOME}, "refs/heads/main", Mode.PLAN, None),
        ("workflow_dispatch", {"inputs": {"command": "apply"}}, "refs/heads/main", Mode.APPLY, None),
        ("workflow_dispatch", {"inputs": {"command": "rm"}}, "refs/heads/main", Mode.PLAN, None),
    ],
)
def test_auto_goes_by_the_event(
    name: str, payload: dict[str, Any], ref: str, mode: Mode, comment_on: int | None
) -> None:
    """Each row of the module's table; a push whose payload was lost is planned, never applied."""
    found = decided(name, payload, ref=ref)
    assert (found.mode, found.comment_on) == (mode, comment_on)


@pytest.mark.parametrize(
    ("command", "ref", "branch"),
    [("auto", "refs/heads/main", "main"), ("apply", "refs/heads/live/eu", "live/eu"), ("apply", "refs/tags/v1", "")],
)
def test_the_push_of_a_branch_may_be_overtaken(command: str, ref: str, branch: str) -> None:
    """Whoever pushes a tag, or starts an apply by hand, wants just that commit."""
    assert decided("push", push(), command, ref=ref).branch == branch
    assert decided("workflow_dispatch", {}, "apply", ref=ref).branch == ""


@pytest.mark.parametrize("command", ["auto", "plan", "apply", "validate"])
def test_pull_request_target_is_refused_whatever_is_asked(command: str) -> None:
    """No input makes it safe to run a stranger's files with secrets."""
    with pytest.raises(UsageError, match="pull_request_target is refused"):
        decided("pull_request_target", pull("opened"), command)


@pytest.mark.parametrize("name", ["issue_comment", "workflow_run", "release", ""])
def test_other_events_need_a_command(name: str) -> None:
    """What has no meaning is refused rather than guessed; a command gives it one."""
    with pytest.raises(UsageError, match="not served"):
        decided(name, {})
    assert decided(name, {}, "plan").mode is Mode.PLAN


@pytest.mark.parametrize("head_repo", [2, None])
def test_a_fork_without_secrets_is_validated(head_repo: int | None) -> None:
    """A fork's pull request (also of a deleted fork) gets what works without secrets, and says why."""
    found = decided("pull_request", pull("opened", head_repo), missing=MISSING)
    assert (found.mode, found.comment_on) == (Mode.VALIDATE, None)
    assert "fork" in found.why


def test_a_fork_with_secrets_is_planned() -> None:
    """Private repositories may hand secrets to forks; then there is nothing to do without."""
    assert decided("pull_request", pull("opened", 2)).mode is Mode.PLAN


def test_dependabot_without_secrets_is_validated() -> None:
    """Dependabot's own pull requests are not forks but get no Actions secrets either."""
    found = decided("pull_request", pull("opened"), missing=MISSING, actor="dependabot[bot]")
    assert found.mode is Mode.VALIDATE


@pytest.mark.parametrize(
    ("name", "payload", "ref", "actor"),
    [
        ("pull_request", pull("opened"), "", "someone"),
        ("push", push(), "refs/heads/main", "someone"),
        ("push", push(), "refs/heads/main", "dependabot[bot]"),
        ("schedule", {}, "", "someone"),
    ],
)
def test_missing_secrets_are_named_otherwise(name: str, payload: dict[str, Any], ref: str, actor: str) -> None:
    """Everywhere else a missing secret is an error that names it and the line to add; an apply is never passed over."""
    with pytest.raises(UsageError, match="no value for port-client-id") as caught:
        decided(name, payload, ref=ref, missing=MISSING, actor=actor)
    assert "port-client-id: ${{ secrets.PORT_CLIENT_ID }}" in caught.value.diagnostics[0].hint


def test_nothing_and_validate_need_no_secrets() -> None:
    """What reads neither Port nor PagerDuty asks for no credentials."""
    modes = [
        decided("pull_request", pull("closed"), missing=MISSING).mode,
        decided("push", push(), "validate", missing=MISSING).mode,
    ]
    assert modes == [Mode.NOTHING, Mode.VALIDATE]


def test_the_payload_is_read_defensively() -> None:
    """Parts of the wrong type are as good as absent."""
    event = parse_event(Runner(event_name="push", sha="s"), {"repository": 3, "head_commit": None, "number": "7"})
    assert (event.number, event.repository_id, event.message, event.head_sha) == (None, 0, "", "s")
