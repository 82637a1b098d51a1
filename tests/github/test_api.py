"""The client: retries by the rules, a bounded number of requests, errors that can be acted upon."""

from __future__ import annotations

import pytest

from pdsync.github.api import ATTEMPTS, LONGEST_WAIT, REQUESTS, GitHub, GitHubError, Try, wait_before_retry
from tests.github.fake_github import TOKEN, FakeGitHub, serving

COMMENTS = "/issues/7/comments"


class Waits(list[float]):
    """Remembers how long was slept, without sleeping."""


def client(fake: FakeGitHub, waits: Waits | None = None, token: str = TOKEN, url: str = "") -> GitHub:
    slept = Waits() if waits is None else waits
    return GitHub(url or fake.url, fake.repository, token, sleep=slept.append, now=lambda: 1000.0, jitter=lambda: 0.0)


@pytest.mark.parametrize(
    ("tried", "attempt", "expected"),
    [
        (Try("GET", 502, {}, ""), 0, 0.5),
        (Try("PATCH", 503, {}, ""), 2, 2.0),
        (Try("GET", 0, {}, "ReadTimeout"), 1, 1.0),
        (Try("GET", 502, {}, ""), ATTEMPTS - 1, None),
        (Try("POST", 502, {}, ""), 0, None),
        (Try("POST", 0, {}, "ReadTimeout"), 0, None),
        (Try("GET", 404, {}, "Not Found"), 0, None),
        (Try("GET", 422, {}, ""), 0, None),
        (Try("POST", 403, {"retry-after": "7"}, ""), 0, 7.0),
        (Try("POST", 429, {}, ""), 0, 60.0),
        (Try("GET", 429, {}, ""), 1, 120.0),
        (Try("GET", 403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1030"}, ""), 0, 31.0),
        (Try("GET", 403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "900"}, ""), 0, 1.0),
        (Try("POST", 403, {}, "You have exceeded a secondary rate limit."), 0, 60.0),
        (Try("POST", 403, {"x-ratelimit-remaining": "4000"}, "Resource not accessible by integration"), 0, None),
    ],
)
def test_what_is_tried_again(tried: Try, attempt: int, expected: float | None) -> None:
    """A limited request waits as told; what may have happened is not repeated unless that is safe."""
    assert wait_before_retry(tried, attempt, 1000.0, 0.0) == expected


def test_a_server_error_is_overcome(github: FakeGitHub) -> None:
    """Two bad answers, then a good one."""
    waits = Waits()
    github.comment(7, "hello")
    github.fail_next("GET", COMMENTS, 502)
    github.fail_next("GET", COMMENTS, 503)
    with client(github, waits) as api:
        found = next(api.pages(COMMENTS))
    assert ([c["body"] for c in found], waits) == (["hello"], [0.5, 1.0])


def test_pages_are_followed_to_the_end(github: FakeGitHub) -> None:
    """By the addresses GitHub gives."""
    for number in range(7):
        github.comment(7, str(number))
    with client(github) as api:
        pages = list(api.pages(f"{COMMENTS}?per_page=3"))
    assert [[c["body"] for c in page] for page in pages] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_the_token_goes_to_github_only(github: FakeGitHub) -> None:
    """A next page on another host is not asked for, as the token would travel along."""
    for number in range(3):
        github.comment(7, str(number))
    with serving(FakeGitHub()) as elsewhere:
        real, github.url = github.url, elsewhere.url
        with client(github, url=real) as api, pytest.raises(GitHubError, match="another host"):
            list(api.pages(f"{COMMENTS}?per_page=2"))
        assert elsewhere.log == []


def test_a_missing_permission_says_which_line_to_add(github: FakeGitHub) -> None:
    """With GitHub's own list of what would do."""
    github.may_write = False
    with client(github) as api, pytest.raises(GitHubError, match="issues=write; pull_requests=write") as caught:
        api.write("POST", COMMENTS, {"body": "x"})
    hint = caught.value.diagnostics[0].hint
    assert "permissions:\n      pull-requests: write" in hint


def test_a_bad_token_is_said_without_the_token(github: FakeGitHub) -> None:
    """The error names the request, not the secret."""
    with client(github, token="ghs_wrong_token_value") as api, pytest.raises(GitHubError) as caught:
        next(api.pages(COMMENTS))
    assert (caught.value.status, "ghs_wrong" in str(caught.value)) == (401, False)


def test_requests_are_counted(github: FakeGitHub) -> None:
    """A run that would need too many stops by itself."""
    for number in range(REQUESTS + 2):
        github.comment(7, str(number))
    with client(github) as api, pytest.raises(GitHubError, match="requests"):
        list(api.pages(f"{COMMENTS}?per_page=1"))
    assert len(github.log) == REQUESTS


def test_waiting_is_bounded(github: FakeGitHub) -> None:
    """A limit that lasts longer than a comment is worth is given up on at once."""
    waits = Waits()
    github.fail_next("GET", COMMENTS, 429, headers={"retry-after": "3600"})
    with client(github, waits) as api, pytest.raises(GitHubError) as caught:
        next(api.pages(COMMENTS))
    assert (caught.value.status, sum(waits) <= LONGEST_WAIT) == (429, True)


def test_an_unreachable_github_is_an_error_of_ours(github: FakeGitHub) -> None:
    """No exception of the HTTP library gets out."""
    with client(github, url="http://127.0.0.1:1") as api, pytest.raises(GitHubError, match="no answer ConnectError"):
        next(api.pages(COMMENTS))


def test_enterprise_server_has_a_path_of_its_own() -> None:
    """`GITHUB_API_URL` may end in `/api/v3`."""
    with serving(FakeGitHub(prefix="/api/v3")) as fake:
        for number in range(3):
            fake.comment(7, str(number))
        with client(fake) as api:
            assert [len(page) for page in api.pages(f"{COMMENTS}?per_page=2")] == [2, 1]
