"""One comment per pull request: found, edited, made anew; never two, never somebody else's."""

from __future__ import annotations

import pytest

from pdsync.github.api import GitHubError
from pdsync.github.pulls import pull_of_push
from pdsync.github.record import Record, comment_key, marker
from pdsync.github.sticky import Thread, find, post, same_text
from tests.github.fake_github import BOT, TOKEN, FakeGitHub
from tests.github.test_api import Waits, client

KEY = comment_key("", "catalog", "")
OTHER = comment_key("other", "catalog", "")
THREAD = Thread(7, KEY, TOKEN)


def body(text: str, key: str = KEY, *, fingerprint: str = "f", at: str = "now") -> str:
    return f"{marker(key, Record('planned', fingerprint=fingerprint))}\n{text}\n\n<sub>{at}</sub>\n"


def put(fake: FakeGitHub, text: str) -> int:
    with client(fake) as api:
        return post(api, THREAD, text, find(api, THREAD)).id


def test_the_second_time_the_comment_is_edited(github: FakeGitHub) -> None:
    """One comment, with the newest text."""
    first = put(github, body("one"))
    second = put(github, body("two"))
    assert (first == second, github.bodies(7)) == (True, [body("two")])


def test_the_same_text_is_not_sent_again(github: FakeGitHub) -> None:
    """Only times and links would change: nothing is written."""
    put(github, body("one", at="yesterday"))
    put(github, body("one", at="today"))
    assert github.sent("PATCH") == []


def test_another_plan_with_the_same_text_is_sent() -> None:
    """The record must be that of the newest plan, even if people would see no difference."""
    same = same_text(body("one", at="1"), body("one", at="2"))
    other = same_text(body("one", fingerprint="f"), body("one", fingerprint="g"))
    assert (same, other) == (True, False)


def test_it_is_found_behind_many_pages_and_the_newest_counts(github: FakeGitHub) -> None:
    """Two hundred comments by others, an old one of ours, a newer one."""
    for number in range(110):
        github.comment(7, f"chat {number}")
    github.comment(7, body("old"), user=BOT)
    for number in range(110):
        github.comment(7, f"more {number}")
    newest = github.comment(7, body("new"), user=BOT)
    assert put(github, body("newest")) == newest
    assert github.sent("POST") == []


def test_another_key_is_another_comment(github: FakeGitHub) -> None:
    """Two environments in one pull request do not overwrite each other."""
    put(github, body("ours"))
    other = Thread(7, OTHER, TOKEN)
    with client(github) as api:
        post(api, other, body("theirs", OTHER), find(api, other))
    assert github.bodies(7) == [body("ours"), body("theirs", OTHER)]


def test_a_strangers_comment_is_never_ours(github: FakeGitHub) -> None:
    """Who copies our marker into a comment of theirs could rewrite the plan after review: it is passed over."""
    github.comment(7, body("forged"), association="CONTRIBUTOR")
    put(github, body("ours"))
    assert github.bodies(7) == [body("forged"), body("ours")]


@pytest.mark.parametrize(
    ("token", "association", "ours"), [("ghp_x", "MEMBER", True), ("ghp_x", "NONE", False), ("ghs_x", "MEMBER", False)]
)
def test_a_persons_token_edits_what_insiders_wrote(
    github: FakeGitHub, token: str, association: str, ours: bool
) -> None:
    """With a personal token the comment's author is a person; with the job's token it is an app."""
    github.comment(7, body("x"), association=association)
    with client(github) as api:
        assert (find(api, Thread(7, KEY, token)) is not None) == ours


@pytest.mark.parametrize("status", [403, 404])
def test_what_may_not_be_edited_is_made_anew(github: FakeGitHub, status: int) -> None:
    """Deleted meanwhile, or another app's."""
    put(github, body("one"))
    github.fail_next("PATCH", "/issues/comments", status, message="Not Found")
    put(github, body("two"))
    assert github.bodies(7) == [body("one"), body("two")]


def test_a_lost_answer_makes_no_second_comment(github: FakeGitHub) -> None:
    """The comment was created although the answer was an error: it is found, not created again."""
    github.fail_next("POST", "/comments", 502, done=True)
    put(github, body("one"))
    assert github.bodies(7) == [body("one")]


def test_a_create_that_did_not_happen_is_tried_once_more(github: FakeGitHub) -> None:
    """When a look shows that nothing was created."""
    github.fail_next("POST", "/comments", 502)
    put(github, body("one"))
    assert github.bodies(7) == [body("one")]


def test_a_refusal_is_passed_on(github: FakeGitHub) -> None:
    """Without the permission there is nothing to be done here."""
    github.may_write = False
    with pytest.raises(GitHubError, match="may not do this"):
        put(github, body("one"))


def test_a_limit_is_no_reason_for_a_second_comment(github: FakeGitHub) -> None:
    """A limited edit ends as such: it is not taken for a comment that may not be edited."""
    put(github, body("one"))
    github.fail_next("PATCH", "/issues/comments", 403, headers={"retry-after": "9999"})
    with pytest.raises(GitHubError):
        put(github, body("two"))
    assert github.bodies(7) == [body("one")]


@pytest.mark.parametrize(("lag", "waited"), [(0, []), (1, [2.0]), (3, [2.0, 4.0, 8.0])])
def test_the_pull_request_of_a_push_is_found_behind_the_lag(github: FakeGitHub, lag: int, waited: list[float]) -> None:
    """GitHub's index knows a squash merge only after a while."""
    waits = Waits()
    github.open_pull(7)
    github.merge(7, "abc")
    github.index_lag = lag
    with client(github, waits) as api:
        found = pull_of_push(api, "abc", "main", "Add a service (#7)")
    assert (found, waits) == (7, waited)


def test_the_message_helps_when_the_index_does_not(github: FakeGitHub) -> None:
    """Its number is believed if that pull request names this commit as its merge."""
    github.open_pull(7)
    github.merge(7, "abc")
    github.index_lag = 99
    with client(github) as api:
        assert pull_of_push(api, "abc", "main", "Merge pull request #7 from x/y\n\ntext") == 7
        assert pull_of_push(api, "other", "main", "Add a service (#7)") is None


def test_a_direct_push_has_no_pull_request(github: FakeGitHub) -> None:
    """One more look, no long wait, no guess."""
    waits = Waits()
    github.open_pull(7)
    with client(github, waits) as api:
        assert pull_of_push(api, "abc", "main", "Fix\n\nlike #7 (#7)") is None
    assert waits == [2.0]


def test_a_pull_request_towards_another_branch_does_not_count(github: FakeGitHub) -> None:
    """Only what was merged into the pushed branch was reviewed for it."""
    github.open_pull(7)
    github.merge(7, "abc")
    with client(github) as api:
        assert pull_of_push(api, "abc", "release", "x") is None
