"""Which pull request a pushed commit came from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pdsync.github.api import GitHubError

if TYPE_CHECKING:
    from pdsync.github.api import GitHub

WAITS = (2.0, 4.0, 8.0)
"""Seconds between looks: GitHub's index of commits lags behind a squash merge."""

NUMBERS = (re.compile(r"\A[^\n]*\(#([0-9]+)\)\s*(?:\n|\Z)"), re.compile(r"\AMerge pull request #([0-9]+) "))
CANNOT_TELL = frozenset({404, 409, 422})


def pull_of_push(github: GitHub, sha: str, branch: str, message: str) -> int | None:
    """The number of the pull request that was merged into `branch` by commit `sha`; None for a direct push.

    `message` is the commit's.  When the index knows nothing, the number in the message is believed if that pull
    request says itself that it was merged by this very commit; without a number there is one more look only.
    Raises `GitHubError`.
    """
    expected = named_pull(message)
    for wait in (*(WAITS if expected else WAITS[:1]), None):
        found = _indexed(github, sha, branch)
        if found is not None:
            return found
        if wait is None or not github.pause(wait):
            break
    return expected if expected is not None and _merged_by(github, expected, sha) else None


def _indexed(github: GitHub, sha: str, branch: str) -> int | None:
    try:
        pulls = [pull for page in github.pages(f"/commits/{sha}/pulls") for pull in page]
    except GitHubError as problem:
        if problem.status in CANNOT_TELL:
            return None
        raise
    merged = [pull for pull in pulls if pull.get("merged_at") and pull.get("base", {}).get("ref") == branch]
    return max((int(pull["number"]) for pull in merged), default=None)


def named_pull(message: str) -> int | None:
    """The number of the pull request that a commit's message names as the one it merges; None when it names none."""
    found = next((matched for pattern in NUMBERS if (matched := pattern.match(message))), None)
    return int(found[1]) if found else None


def _merged_by(github: GitHub, number: int, sha: str) -> bool:
    try:
        pull = github.get(f"/pulls/{number}")
    except GitHubError as problem:
        if problem.status in CANNOT_TELL:
            return False
        raise
    return pull.get("merged") is True and pull.get("merge_commit_sha") == sha
