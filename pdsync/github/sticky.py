"""The one comment of a pull request: found by its marker, edited in place, made anew when it may not be edited."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pdsync.github.api import GitHubError
from pdsync.github.record import Record, read_marker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.github.api import GitHub

INSIDERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
GONE_OR_REFUSED = frozenset({403, 404})


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of ours."""

    id: int
    url: str
    body: str
    record: Record | None


@dataclass(frozen=True, slots=True)
class Thread:
    """Where our comment stands: the pull request, the comment's key, and the token, which tells who we are."""

    number: int
    key: str
    token: str = field(repr=False)


def find(github: GitHub, thread: Thread) -> Comment | None:
    """The newest comment of the thread with our key, over all pages.  Raises `GitHubError`.

    Comments come oldest first and cannot be sorted otherwise.  One by somebody who is neither an app nor of the
    repository is passed over: its author could change what we write into it after a reviewer has read it.
    """
    newest: Comment | None = None
    for page in github.pages(f"/issues/{thread.number}/comments?per_page=100"):
        for raw in page:
            newest = _ours(raw, thread) or newest
    return newest


def post(github: GitHub, thread: Thread, body: str, old: Comment | None) -> Comment:
    """Make the comment say `body`: edit `old`, or create.  Raises `GitHubError`.

    Nothing is sent when only the marker and the closing line (times and links) would change.
    """
    if old is not None and same_text(old.body, body):
        return old
    return _edit(github, body, old) or _create(github, thread, body, old)


def _edit(github: GitHub, body: str, old: Comment | None) -> Comment | None:
    """The edited comment; None when there is none that we may edit."""
    if old is None:
        return None
    try:
        return _comment(github.write("PATCH", f"/issues/comments/{old.id}", {"body": body}), body)
    except GitHubError as problem:
        if problem.status not in GONE_OR_REFUSED:
            raise
        return None


def _create(github: GitHub, thread: Thread, body: str, old: Comment | None) -> Comment:
    """A new comment; when the answer is lost, looked for before it is sent again, so that there are never two."""
    path, content = f"/issues/{thread.number}/comments", {"body": body}
    try:
        return _comment(github.write("POST", path, content), body)
    except GitHubError as problem:
        if not problem.uncertain:
            raise
    found = find(github, thread)
    landed = found is not None and (old is None or found.id > old.id)
    return found if found is not None and landed else _comment(github.write("POST", path, content), body)


def same_text(old: str, new: str) -> bool:
    """Whether two bodies differ only in what differs between runs of the same work."""
    return _stable(old) == _stable(new) and _identity(old) == _identity(new)


def _comment(raw: Mapping[str, Any], body: str) -> Comment:
    marker = read_marker(body)
    return Comment(raw["id"], str(raw.get("html_url", "")), body, marker[1] if marker else None)


def _ours(raw: Mapping[str, Any], thread: Thread) -> Comment | None:
    body = str(raw.get("body") or "").replace("\r\n", "\n")
    marker = read_marker(body)
    if marker is None or marker[0] != thread.key or raw.get("minimized") or not _trusted(raw, thread.token):
        return None
    return _comment(raw, body)


def _trusted(raw: Mapping[str, Any], token: str) -> bool:
    """An app's token edits what apps wrote; a person's also what insiders wrote."""
    bot = (raw.get("user") or {}).get("type") == "Bot"
    return bot or (not token.startswith("ghs_") and raw.get("author_association") in INSIDERS)


def _stable(body: str) -> str:
    lines = body.strip().split("\n")[1:]
    return "\n".join(line for line in lines if not re.fullmatch(r"<sub>.*</sub>", line))


def _identity(body: str) -> tuple[str, ...]:
    marker = read_marker(body)
    record = marker[1] if marker else None
    return (record.status, record.fingerprint, record.head_sha) if record else ()
