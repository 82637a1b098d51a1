"""A GitHub that remembers: comments, pull requests and commits of one repository, on loopback.

What it does follows GitHub's REST API documentation: comments in ascending order in pages with `Link`, 401 for a bad
token, 403 with `x-accepted-github-permissions` for a token that may not, 404 for what is not there, 422 for a body
that is too long.  `fail_next` makes the next matching requests end as a server would that is ill or busy.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pdsync.sandbox.serving import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

LONGEST_BODY = 65_536
TOKEN = "ghs_installation_token_of_the_job"
BOT = {"login": "github-actions[bot]", "type": "Bot"}
PERSON = {"login": "someone", "type": "User"}


@dataclass
class Failure:
    """An answer other than the right one; `done` carries the request out all the same, as a lost answer would."""

    method: str
    path: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = ""
    done: bool = False


@dataclass
class FakeGitHub:
    """One repository, `acme/catalog`."""

    repository: str = "acme/catalog"
    comments: list[dict[str, Any]] = field(default_factory=list)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    merged_by: dict[str, int] = field(default_factory=dict)
    index_lag: int = 0
    may_write: bool = True
    failures: deque[Failure] = field(default_factory=deque)
    log: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    prefix: str = ""

    def fail_next(self, method: str, path: str, status: int, **parts: Any) -> None:
        """Let the next request whose method and path (a regular expression) fit end with `status`."""
        self.failures.append(Failure(method, path, status, **parts))

    def open_pull(self, number: int) -> None:
        """A pull request towards main."""
        self.pulls[number] = {"number": number, "base": {"ref": "main"}, "merged_at": None, "merged": False}

    def merge(self, number: int, sha: str) -> None:
        """The pull request is merged as commit `sha`."""
        self.pulls[number] |= {"merged": True, "merged_at": "2026-01-02T03:04:05Z", "merge_commit_sha": sha}
        self.merged_by[sha] = number

    def comment(self, number: int, body: str, *, user: dict[str, str] | None = None, association: str = "NONE") -> int:
        """Somebody comments; the comment's id."""
        made: dict[str, Any] = {
            "id": 1000 + len(self.comments),
            "issue": number,
            "body": body,
            "user": user or PERSON,
            "author_association": association,
        }
        made["html_url"] = f"https://github.example/{self.repository}/pull/{number}#issuecomment-{made['id']}"
        self.comments.append(made)
        return int(made["id"])

    def bodies(self, number: int) -> list[str]:
        """What the comments of a pull request say."""
        return [comment["body"] for comment in self.comments if comment["issue"] == number]

    def sent(self, method: str) -> list[str]:
        """The paths of requests with this method."""
        return [path for used, path in self.log if used == method]

    def app(self) -> Starlette:
        """The HTTP face."""
        base = f"{self.prefix}/repos/{self.repository}"
        return Starlette(
            routes=[
                Route(f"{base}/issues/{{number:int}}/comments", self._list, methods=["GET"]),
                Route(f"{base}/issues/{{number:int}}/comments", self._create, methods=["POST"]),
                Route(f"{base}/issues/comments/{{id:int}}", self._edit, methods=["PATCH"]),
                Route(f"{base}/commits/{{sha}}/pulls", self._pulls_of, methods=["GET"]),
                Route(f"{base}/pulls/{{number:int}}", self._pull, methods=["GET"]),
            ]
        )

    async def _list(self, request: Request) -> Response:
        return await self._guarded(request, self._page, write=False)

    async def _create(self, request: Request) -> Response:
        return await self._guarded(request, self._made, write=True)

    async def _edit(self, request: Request) -> Response:
        return await self._guarded(request, self._edited, write=True)

    async def _pulls_of(self, request: Request) -> Response:
        return await self._guarded(request, self._indexed, write=False)

    async def _pull(self, request: Request) -> Response:
        return await self._guarded(request, self._one_pull, write=False)

    async def _guarded(self, request: Request, act: Any, *, write: bool) -> Response:
        path = request.url.path.removeprefix(f"{self.prefix}/repos/{self.repository}")
        self.log.append((request.method, path))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refusal(401, "Bad credentials")
        body = await request.json() if write else {}
        if self.failures and request.method == self.failures[0].method and re.search(self.failures[0].path, path):
            failure = self.failures.popleft()
            if failure.done:
                act(request, body)
            return _refusal(failure.status, failure.message, failure.headers)
        if write and not self.may_write:
            accepted = {"x-accepted-github-permissions": "issues=write; pull_requests=write"}
            return _refusal(403, "Resource not accessible by integration", accepted)
        answer: Response = act(request, body)
        return answer

    def _page(self, request: Request, _: dict[str, Any]) -> Response:
        size, page = int(request.query_params.get("per_page", 30)), int(request.query_params.get("page", 1))
        found = [c for c in self.comments if c["issue"] == request.path_params["number"]]
        more = len(found) > page * size
        following = f"{self.url}/repos/{self.repository}/issues/{request.path_params['number']}/comments"
        link = {"Link": f'<{following}?per_page={size}&page={page + 1}>; rel="next"'} if more else {}
        return JSONResponse(found[(page - 1) * size : page * size], headers=link)

    def _made(self, request: Request, body: dict[str, Any]) -> Response:
        if len(body["body"]) > LONGEST_BODY:
            return _refusal(422, "Validation Failed: body is too long (maximum is 65536 characters)")
        self.comment(request.path_params["number"], body["body"], user=BOT)
        return JSONResponse(self.comments[-1], status_code=201)

    def _edited(self, request: Request, body: dict[str, Any]) -> Response:
        found = next((c for c in self.comments if c["id"] == request.path_params["id"]), None)
        if found is None:
            return _refusal(404, "Not Found")
        if len(body["body"]) > LONGEST_BODY:
            return _refusal(422, "Validation Failed: body is too long (maximum is 65536 characters)")
        found["body"] = body["body"]
        return JSONResponse(found)

    def _indexed(self, request: Request, _: dict[str, Any]) -> Response:
        if self.index_lag > 0:
            self.index_lag -= 1
            return JSONResponse([])
        number = self.merged_by.get(request.path_params["sha"])
        return JSONResponse([self.pulls[number]] if number else [])

    def _one_pull(self, request: Request, _: dict[str, Any]) -> Response:
        found = self.pulls.get(request.path_params["number"])
        return JSONResponse(found) if found else _refusal(404, "Not Found")


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status_code=status, headers=headers)


@contextmanager
def serving(github: FakeGitHub) -> Iterator[FakeGitHub]:
    """The fake on a free port of loopback, as long as the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        github.url = f"http://127.0.0.1:{listener.getsockname()[1]}{github.prefix}"
        config = uvicorn.Config(github.app(), log_level="critical", lifespan="off", ws="none")
        server = Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield github
        finally:
            server.leave()
            thread.join()
