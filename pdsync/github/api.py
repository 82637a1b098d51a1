"""GitHub's REST API, as far as a comment needs it: few requests, polite retries, errors that say what to change.

Facts: GitHub REST API documentation, Best practices for using the REST API and Rate limits for the REST API.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pdsync.errors import PdsyncError, error
from pdsync.github.text import clip
from pdsync.render.escape import visible
from pdsync.transport import named_proxy
from pdsync.trust import HINT, trusted_certificates, why_untrusted
from pdsync.web import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pdsync.errors import Diagnostic

REQUESTS = 15
"""Requests that one run may send, retries included."""

ATTEMPTS = 5
LONGEST_WAIT = 120.0
"""Seconds a run waits for GitHub in all before it does without a comment."""

API_VERSION = "2022-11-28"
SERVER_ERRORS = frozenset({500, 502, 503, 504})
REFUSED = frozenset({403, 429})


class GitHubError(PdsyncError):
    """GitHub refused or could not be reached; never a reason to fail an apply.

    `status` is the HTTP status, 0 when there was no answer.  `uncertain` marks a write that may have happened.
    """

    def __init__(self, diagnostic: Diagnostic, *, status: int = 0, uncertain: bool = False) -> None:
        super().__init__(diagnostic)
        self.status = status
        self.uncertain = uncertain


class Try(NamedTuple):
    """How an attempt went: status 0 means no answer."""

    method: str
    status: int
    headers: Mapping[str, str]
    message: str


def wait_before_retry(tried: Try, attempt: int, now: float, jitter: float) -> float | None:
    """Seconds to wait before trying again, None to give up; `attempt` counts from 0, `jitter` lies in [0, 1).

    A request that a rate limit refused was not carried out and may be sent again whatever its method.  After a
    server error or a lost answer only what is safe to repeat is repeated, which a POST is not.
    """
    if attempt + 1 >= ATTEMPTS:
        return None
    if tried.status in REFUSED and _limited(tried):
        return _limit_wait(tried.headers, attempt, now)
    if tried.method != "POST" and (tried.status == 0 or tried.status in SERVER_ERRORS):
        return float(2**attempt) * (0.5 + jitter / 2)
    return None


def _limited(tried: Try) -> bool:
    exhausted = tried.headers.get("x-ratelimit-remaining") == "0"
    said = "rate limit" in tried.message.lower()
    return tried.status == httpx.codes.TOO_MANY_REQUESTS or "retry-after" in tried.headers or exhausted or said


def _limit_wait(headers: Mapping[str, str], attempt: int, now: float) -> float:
    after, reset = headers.get("retry-after", ""), headers.get("x-ratelimit-reset", "")
    if after.isdigit():
        return float(after)
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        return max(0.0, float(reset) - now) + 1.0
    return float(60 * 2**attempt)


class GitHub:
    """A client for one repository at `api_url` (`GITHUB_API_URL`: GitHub Enterprise Server has its own).

    `sleep` waits, `now` is seconds since the epoch, `jitter` gives numbers in [0, 1).
    """

    def __init__(
        self,
        api_url: str,
        repository: str,
        token: str,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], float],
        jitter: Callable[[], float],
        user_agent: str = "pdsync",
    ) -> None:
        self._api = api_url.rstrip("/")
        self._repository = f"{self._api}/repos/{repository}"
        self._sleep, self._now, self._jitter = sleep, now, jitter
        self._left = REQUESTS
        self._waited = 0.0
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "User-Agent": user_agent,
            "X-GitHub-Api-Version": API_VERSION,
        }
        timeout = httpx.Timeout(20.0, connect=10.0)
        verify = trusted_certificates() if self._api.startswith("https:") else False
        proxy = named_proxy(self._api)
        self._client = httpx.Client(headers=headers, timeout=timeout, verify=verify, trust_env=False, proxy=proxy)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object of a path under the repository.  Raises `GitHubError`."""
        return _object(self._send("GET", f"{self._repository}{path}"))

    def pages(self, path: str) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, following `Link` (page addresses are never built).  Raises `GitHubError`."""
        url: str | None = f"{self._repository}{path}"
        while url:
            answer = self._send("GET", url)
            yield _rows(answer)
            url = answer.links.get("next", {}).get("url")

    def write(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send JSON to a path under the repository and give back the answer's.  Raises `GitHubError`."""
        return _object(self._send(method, f"{self._repository}{path}", body))

    def pause(self, seconds: float) -> bool:
        """Wait, unless the run has waited enough already; says whether it waited."""
        if self._waited + seconds > LONGEST_WAIT:
            return False
        self._waited += seconds
        self._sleep(seconds)
        return True

    def _send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        if not url.startswith(f"{self._api}/"):
            raise GitHubError(error("PD710", "GitHub pointed to another host", detail=visible(url)))
        for attempt in range(ATTEMPTS):
            answer, tried = self._try(method, url, body)
            if answer is not None and answer.is_success:
                return answer
            wait = wait_before_retry(tried, attempt, self._now(), self._jitter())
            if wait is None or not self.pause(wait):
                break
        raise _failure(tried, url.removeprefix(self._api), answer)

    def _try(self, method: str, url: str, body: Mapping[str, Any] | None) -> tuple[httpx.Response | None, Try]:
        if self._left <= 0:
            hint = "The pull request has very many comments, or GitHub is limiting this token."
            raise GitHubError(error("PD710", f"more than {REQUESTS} requests to GitHub would be needed", hint=hint))
        self._left -= 1
        try:
            answer = self._client.request(method, url, json=body)
        except httpx.HTTPError as problem:
            if reason := why_untrusted(problem):
                raise GitHubError(error("PD710", "GitHub cannot be reached", detail=reason, hint=HINT)) from None
            return None, Try(method, 0, {}, type(problem).__name__)
        return answer, Try(method, answer.status_code, answer.headers, _message(answer))


def _object(answer: httpx.Response) -> dict[str, Any]:
    found = _parsed(answer)
    if not isinstance(found, dict):
        raise _foreign(answer)
    return found


def _rows(answer: httpx.Response) -> list[dict[str, Any]]:
    found = _parsed(answer)
    if not (isinstance(found, list) and all(isinstance(row, dict) for row in found)):
        raise _foreign(answer)
    return found


def _parsed(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise _foreign(answer) from None


def _foreign(answer: httpx.Response) -> GitHubError:
    kind = visible(answer.headers.get("content-type", "")) or "no content type"
    return GitHubError(
        error(
            "PD713",
            "what answers is not GitHub's API",
            detail=f"{answer.request.method} {answer.request.url.path}: {answer.status_code}, {kind}",
            hint="See GITHUB_API_URL and the proxy of the job: a login page or a gateway may stand in between.",
        ),
        status=answer.status_code,
    )


def _message(answer: httpx.Response) -> str:
    if answer.is_success:
        return ""
    try:
        said = answer.json().get("message", "")
    except (ValueError, AttributeError):
        return ""
    return clip(visible(str(said)), 300)


def _failure(tried: Try, path: str, answer: httpx.Response | None) -> GitHubError:
    where = f"{tried.method} {re.sub(r'[?].*', '', path)}"
    uncertain = tried.method == "POST" and (tried.status == 0 or tried.status in SERVER_ERRORS)
    if tried.status == httpx.codes.UNAUTHORIZED:
        hint = "See the input token: a token of one's own may have expired; the default is ${{ github.token }}."
        told = error("PD712", "GitHub does not take the token", detail=f"{where}: 401 {tried.message}", hint=hint)
        return GitHubError(told, status=tried.status)
    if answer is not None and tried.status == httpx.codes.FORBIDDEN and not _limited(tried):
        return GitHubError(_permission(tried, where), status=tried.status)
    detail = f"{where}: {tried.status or 'no answer'} {tried.message}".rstrip()
    status = httpx.codes.TOO_MANY_REQUESTS if _limited(tried) else tried.status
    told = error("PD711", "GitHub did not do it", detail=detail, hint=_advice(status))
    return GitHubError(told, status=status, uncertain=uncertain)


def _advice(status: int) -> str:
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return "GitHub limits this token; the job summary has it all, and a later run writes the comment."
    if status in {404, 410}:
        return "See that the input token is of this repository, with pull-requests: write in the job's permissions."
    return "The job summary has it all; run the job again to write the comment."


def _permission(tried: Try, where: str) -> Diagnostic:
    accepted = tried.headers.get("x-accepted-github-permissions", "")
    says = f"; GitHub would accept: {visible(accepted)}" if accepted else ""
    needed = "write" if tried.method != "GET" else "read"
    return error(
        "PD712",
        "the token may not do this",
        detail=f"{where}: {tried.status} {tried.message}{says}",
        hint=f"Add to the job in the workflow file:\n    permissions:\n      pull-requests: {needed}\n"
        "A locked conversation or an archived repository refuses comments too.",
    )
