"""What goes wrong on the way, for every way of paging: a list ends complete or says why it is not, and never lies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdsync.kinds import Kind, Paging
from pdsync.sources.pagerduty.listing import Lister, Listing, Tally
from pdsync.sources.pagerduty.records import Malformed
from pdsync.transport import PAGERDUTY_LIMITS, ApiClient, FixedHeaders
from tests.source.loopback import FakeTime, Script, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.source.loopback import Asgi

Change = Callable[["Told"], None]
"""What spoils an answer."""

WAYS: tuple[Paging, ...] = ("classic", "cursor", "after", "post", "none")
COUNT = 250


@dataclass
class Told:
    """One answer, before it is sent: its rows and what it says about the rest."""

    rows: list[dict[str, Any]]
    rest: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    broken: bool = False
    late: float = 0.0
    deep: int = 0
    key: str = "things"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(self.late)
        content = json.dumps({self.key: self.rows, **self.rest} if self.status == 200 else {"error": "no"}).encode()
        if self.deep:
            nested = b'"deep": %b' % (b"[" * self.deep + b"]" * self.deep)
            content = content.replace(b'{"id"', b'{%b, "id"' % nested)
        if self.broken:
            start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9999")]}
            await send(start)
            await send({"type": "http.response.body", "body": content[:20]})
            return
        await Script([(self.status, self.headers, content[: self.cut])])(scope, receive, send)


@dataclass
class Things:
    """A list of so many rows, paged in one of the ways; `change` spoils the answers whose number it is given."""

    paging: Paging
    count: int = COUNT
    changes: dict[int, Change] = field(default_factory=dict)
    counted: bool = True
    names: tuple[str, ...] = ("id",)
    always: Change = lambda _: None
    most: int = 1000
    answers: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = dict(pair.split("=") for pair in scope["query_string"].decode().split("&") if pair)
        if scope["method"] == "POST":
            asked = {name: str(value) for name, value in json.loads((await receive())["body"]).items()}
        told = self.told(asked)
        change = self.changes.get(self.answers, self.always)
        self.answers += 1
        change(told)
        await told(scope, receive, send)

    def told(self, asked: dict[str, str]) -> Told:
        rows = [{"id": f"T{number:04}"} for number in range(self.count)]
        if self.paging == "none":
            return Told(rows, {})
        limit = min(int(asked["limit"]), self.most)
        begin = self._begin(asked)
        part, more = rows[begin : begin + limit], begin + limit < len(rows)
        rest: dict[Paging, dict[str, Any]] = {
            "classic": {"more": more, "total": len(rows) if asked.get("total") else None},
            "cursor": {"next_cursor": str(begin + limit) if more else None},
            "after": {"after": part[-1]["id"] if more else None},
            "post": {"more": more, "last": part[-1]["id"] if part else None},
        }
        return Told(part, rest[self.paging])

    def _begin(self, asked: dict[str, str]) -> int:
        if self.paging == "classic":
            return int(asked["offset"])
        name = {"cursor": "cursor", "after": "after", "post": "starting_after"}[self.paging]
        at = asked.get(name, "")
        return int(at) if self.paging == "cursor" and at else int(at[1:]) + 1 if at else 0

    @property
    def kind(self) -> Kind:
        post = self.paging == "post"
        return Kind(
            "things",
            "/things",
            "things",
            self.paging,
            self.names,
            counted=self.counted,
            method="POST" if post else "GET",
            page_size=0 if self.paging == "none" else 100,
        )


class Server:
    """One server for all tests; what it serves changes from one to the next."""

    app: Asgi

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


SERVER = Server()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(SERVER) as running:
        yield running


def read(url: str, app: Things, timeout: float = 60.0) -> Listing:
    """The list as it is read, without waiting between tries; an answer may take until `timeout`."""
    SERVER.app = app

    async def main() -> Listing:
        auth = FixedHeaders("authorization", "Token token=x")
        timing = FakeTime().timing()
        async with ApiClient(
            url, name="PagerDuty", auth=auth, user_agent="t", limits=PAGERDUTY_LIMITS, timing=timing, timeout=timeout
        ) as client:
            return await Lister(client, app.kind, (), Tally("things", None)).read(datetime(2026, 6, 1, tzinfo=UTC))

    return asyncio.run(main())


def outcome(listing: Listing) -> str:
    return listing.problem.code if listing.problem else "complete"


def whole(listing: Listing) -> bool:
    return list(listing.records) == [f"T{number:04}" for number in range(COUNT)]


# --- the faults ------------------------------------------------------------------------------------------------


def refused(status: int, **headers: str) -> Change:
    def change(told: Told) -> None:
        told.status, told.headers = status, headers

    return change


def cut_off(told: Told) -> None:
    told.cut = 25


def broken_off(told: Told) -> None:
    told.broken = True


def too_deep(told: Told) -> None:
    told.deep = 1100


def garbled(told: Told) -> None:
    told.headers = {"content-encoding": "gzip"}


def slow(told: Told) -> None:
    told.late = 0.02


def emptied(told: Told) -> None:
    told.rows = []


def doubled(told: Told) -> None:
    told.rows = [row for row in told.rows for _ in range(2)]


def generous(told: Told) -> None:
    """Some rows come twice, so that there are more than were asked for."""
    told.rows = [*told.rows, *told.rows[:3]]


def promising(told: Told) -> None:
    """There is more, says every page."""
    told.rest["more"] = True


def silent(told: Told) -> None:
    """There is no more, says every page."""
    told.rest["more"] = False


def shrinking(told: Told) -> None:
    """The count is another one on every page, and always less."""
    if told.rest.get("total") is not None:
        told.rest["total"] = COUNT + 40 - int(told.rows[0]["id"][1:]) // 5 if told.rows else 0


PASSING: dict[str, Change] = {
    "429": refused(429, **{"ratelimit-reset": "3", "ratelimit-remaining": "0", "ratelimit-limit": "960"}),
    "429 without headers": refused(429),
    "500": refused(500),
    "503": refused(503, **{"retry-after": "2"}),
    "truncated": cut_off,
    "garbled": garbled,
    "dropped": broken_off,
    "slow": slow,
}


@pytest.mark.parametrize("paging", WAYS)
@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_what_passes_costs_nothing(url: str, paging: Paging, fault: str, at: int) -> None:
    """One bad answer, at the beginning, in the middle or at the end, and the list is complete all the same."""
    listing = read(url, Things(paging, changes={at: PASSING[fault]}))
    assert (outcome(listing), whole(listing)) == ("complete", True)


def too_slow(told: Told) -> None:
    told.late = 0.8


@pytest.mark.parametrize("paging", WAYS)
def test_an_answer_that_takes_too_long_is_asked_for_again(url: str, paging: Paging) -> None:
    """One answer comes after nobody waits for it any more; the list is complete all the same."""
    listing = read(url, Things(paging, changes={0 if paging == "none" else 1: too_slow}), timeout=0.4)
    assert (outcome(listing), whole(listing)) == ("complete", True)


@pytest.mark.parametrize("paging", WAYS)
def test_answers_that_all_take_too_long_are_named(url: str, paging: Paging) -> None:
    """What it was is said, not that there is nothing."""
    listing = read(url, Things(paging, always=too_slow), timeout=0.05)
    assert (outcome(listing), dict(listing.records)) == ("PD320", {})
    assert listing.problem is not None
    # On a machine that is busy not even a connection comes about in that time.
    assert re.search("no (answer|connection) in time", listing.problem.detail)


@pytest.mark.parametrize("paging", WAYS)
def test_a_storm_of_errors_is_waited_out(url: str, paging: Paging) -> None:
    """Six times 500, then all is well."""
    listing = read(url, Things(paging, changes={number: refused(500) for number in range(6)}))
    assert (outcome(listing), whole(listing)) == ("complete", True)


LASTING: dict[str, Change] = {
    "402": refused(402),
    "403": refused(403),
    "404": refused(404),
    "500": refused(500),
    "truncated": cut_off,
    "too deep": too_deep,
    "dropped": broken_off,
}


@pytest.mark.parametrize("paging", WAYS)
@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("since", [0, 2])
def test_what_lasts_is_named(url: str, paging: Paging, fault: str, since: int) -> None:
    """From some answer on nothing good comes: what was read is there, and that it is not all is said."""
    app = Things(paging, changes=dict.fromkeys(range(since, 9999), LASTING[fault]))
    listing = read(url, app)
    if paging == "none" and since:
        assert outcome(listing) == "complete"
    else:
        assert outcome(listing) == "PD320"
        assert not whole(listing)


@pytest.mark.parametrize("paging", WAYS)
def test_what_cannot_be_unpacked_is_an_answer_that_cannot_be_understood(url: str, paging: Paging) -> None:
    """It makes its list incomplete, and is not taken for a PagerDuty that does not answer at all."""
    app = Things(paging, always=garbled)
    listing = read(url, app)
    assert (outcome(listing), app.answers) == ("PD320", 4)
    assert isinstance(listing.failure, Malformed)
    assert "it is not compressed as it says" in listing.failure.diagnostics[0].detail


@pytest.mark.parametrize("paging", WAYS)
@pytest.mark.parametrize("fault", ["402", "403", "404"])
def test_a_refusal_is_not_tried_again(url: str, paging: Paging, fault: str) -> None:
    """It is final: one request."""
    app = Things(paging, always=LASTING[fault])
    read(url, app)
    assert app.answers == 1


ODD: list[tuple[Paging, str, Change, str]] = [
    ("classic", "promising", promising, "complete"),
    ("classic", "silent", silent, "PD326"),
    ("classic", "shrinking", shrinking, "PD326"),
    ("classic", "doubled", doubled, "complete"),
    ("classic", "generous", generous, "PD322"),
    ("classic", "emptied", emptied, "PD326"),
    ("cursor", "promising", promising, "PD323"),
    ("cursor", "silent", silent, "complete"),
    ("cursor", "doubled", doubled, "PD327"),
    ("cursor", "emptied", emptied, "PD323"),
    ("after", "promising", promising, "PD323"),
    ("after", "silent", silent, "complete"),
    ("after", "doubled", doubled, "PD327"),
    ("post", "promising", promising, "PD323"),
    ("post", "silent", silent, "complete"),
    ("post", "doubled", doubled, "PD327"),
    ("post", "emptied", emptied, "PD323"),
    ("none", "promising", promising, "PD323"),
    ("none", "doubled", doubled, "PD327"),
]


@pytest.mark.parametrize(
    ("paging", "_name", "change", "expected"), ODD, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_pages_say_about_themselves_is_not_believed(
    url: str, paging: Paging, _name: str, change: Change, expected: str
) -> None:
    """Wrong `more`, wrong counts, rows twice, empty pages: noticed where it matters, borne where it does not."""
    listing = read(url, Things(paging, always=change))
    assert outcome(listing) == expected
    assert whole(listing) or listing.problem is not None


@pytest.mark.parametrize(
    ("change", "expected"), [(promising, "PD323"), (lambda _: None, "complete"), (silent, "complete")]
)
def test_a_list_that_is_not_counted_ends_where_nothing_follows(url: str, change: Change, expected: str) -> None:
    """There is more, it says, and gives nothing; there is no more, it says of a full page: either is found out."""
    listing = read(url, Things("classic", always=change, counted=False))
    assert (outcome(listing), whole(listing)) == (expected, True)


def ended(told: Told) -> None:
    """Nothing comes, and nothing is promised."""
    told.rows = []
    told.rest.update({name: False if name == "more" else None for name in told.rest})


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bare", [False, True])
def test_an_end_that_comes_too_early_is_none(url: str, at: int, *, bare: bool) -> None:
    """One page of a list that nothing counts comes empty, and as if it were the last: rows that must come again tell."""
    always: Change = (lambda told: told.rest.clear()) if bare else lambda _: None
    listing = read(url, Things("classic", counted=False, most=25 if bare else 100, changes={at: ended}, always=always))
    assert (outcome(listing), whole(listing)) == ("complete", True)


@pytest.mark.parametrize("paging", ["cursor", "after", "post"])
def test_a_page_that_was_promised_and_never_comes_is_named(url: str, paging: Paging) -> None:
    """Pages led on; from the third one on all are empty and call themselves the last."""
    listing = read(url, Things(paging, changes=dict.fromkeys(range(2, 99), ended)))
    assert (outcome(listing), whole(listing)) == ("PD323", False)


@pytest.mark.parametrize(("paging", "count"), [("cursor", 200), ("cursor", 100), ("after", 150), ("after", 1)])
def test_a_last_page_that_leads_to_an_empty_one_is_the_last(url: str, paging: Paging, count: int) -> None:
    """Some lists lead on from any full page, some from any: its last row alone, asked for once more, is followed by none."""

    def leading_on(told: Told) -> None:
        if paging == "after" and told.rows:
            told.rest["after"] = told.rows[-1]["id"]
        if paging == "cursor" and len(told.rows) == 100:
            told.rest["next_cursor"] = str(int(told.rows[-1]["id"][1:]) + 1)

    app = Things(paging, count=count, always=leading_on)
    listing = read(url, app)
    assert (outcome(listing), len(listing.records)) == ("complete", count)


def test_a_list_may_end_with_an_empty_page_each_time(url: str) -> None:
    """A list by cursor is over where none is named (PagerDuty REST API, Pagination), be it on a page without rows."""

    def leading_on(told: Told) -> None:
        told.rest["next_cursor"] = str(int(told.rows[-1]["id"][1:]) + 1) if told.rows else None

    listing = read(url, Things("cursor", always=leading_on))
    assert (outcome(listing), whole(listing)) == ("complete", True)


def test_a_count_proves_little_where_rows_have_no_id_of_their_own(url: str) -> None:
    """More is promised and nothing given: rows that may be the same cannot be counted against the total."""
    listing = read(url, Things("classic", always=promising, names=("id", "kind|row")))
    assert outcome(listing) == "PD322"
    assert outcome(read(url, Things("classic", names=("id", "kind|row")))) == "complete"


def test_a_full_page_that_denies_what_is_counted_is_no_end(url: str) -> None:
    """Also where rows have no id of their own: a count that is a little off may pass, a page that is cut may not."""
    listing = read(url, Things("classic", always=silent, names=("id", "kind|row")))
    assert (outcome(listing), whole(listing)) == ("PD326", False)


@pytest.mark.parametrize(
    ("names", "left", "lasting", "code"),
    [
        (("id", "kind|row"), 0, 1, ""),
        (("id", "kind|row"), 0, 9, "PD326"),
        (("id", "kind|row"), 40, 9, ""),
        (("id|none",), 40, 9, "PD326"),
        (("id|none",), 60, 9, ""),
    ],
)
def test_a_short_page_that_denies_what_is_counted_is_none_either(
    url: str, names: tuple[str, ...], left: int, lasting: int, code: str
) -> None:
    """Nothing came, or half of what is counted: a count of rows without an id of their own is not so far off."""

    def cut(told: Told) -> None:
        told.rows = told.rows[:left]

    app = Things("classic", count=80, names=names, changes=dict.fromkeys(range(lasting), cut))
    listing = read(url, app)
    assert outcome(listing) == (code or "complete")
    assert len(listing.records) == (80 if lasting == 1 else left)


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("paging", WAYS)
def test_that_there_is_nothing_is_not_believed_at_once_without_a_count(url: str, paging: Paging, count: int) -> None:
    """A list that is not counted comes empty once; one that is empty costs a request more."""
    app = Things(paging, count=count, changes={0: emptied}, counted=False)
    listing = read(url, app)
    assert (outcome(listing), len(listing.records), app.answers) == ("complete", count, 2)


def repeating(told: Told) -> None:
    """Some rows are those of the first page."""
    told.rows = told.rows[: len(told.rows) // 2] + [{"id": f"T{number:04}"} for number in range(len(told.rows) // 2)]


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("paging", ["cursor", "after", "post"])
def test_a_page_that_repeats_another_hides_nothing(url: str, paging: Paging, *, lasting: bool) -> None:
    """It comes in place of the page that was asked for: once, and the walk is done anew; each time, and that is said."""
    app = Things(paging, changes=dict.fromkeys(range(1, 99 if lasting else 2), repeating))
    listing = read(url, app)
    assert (outcome(listing), whole(listing)) == (("PD327", False) if lasting else ("complete", True))


@pytest.mark.parametrize(("lasting", "expected"), [(1, ("complete", 80)), (99, ("PD327", 40))])
def test_a_page_that_repeats_itself_hides_nothing(url: str, lasting: int, expected: tuple[str, int]) -> None:
    """Half of an only page is there twice, and the other half not at all; nothing counts them."""
    listing = read(url, Things("classic", count=80, counted=False, changes=dict.fromkeys(range(lasting), repeating)))
    assert (outcome(listing), len(listing.records)) == expected


def test_a_list_that_always_leads_on_to_what_it_gave_ends(url: str) -> None:
    """The cursor is another one each time, and the rows never."""

    def first_page(told: Told) -> None:
        told.rows = [{"id": f"T{number:04}"} for number in range(100)]
        told.rest["next_cursor"] = str(len(cursors))
        cursors.append("")

    cursors: list[str] = []
    assert (outcome(read(url, Things("cursor", always=first_page))), len(cursors)) == ("PD327", 4)


def test_rows_without_an_id_of_their_own_may_say_the_same(url: str) -> None:
    """Of what is named by other fields, two rows may be alike, and nothing is hidden."""
    listing = read(url, Things("post", always=doubled, names=("id", "team")))
    assert (outcome(listing), whole(listing)) == ("complete", True)


def test_a_list_in_one_answer_that_repeats_itself_is_asked_again(url: str) -> None:
    """Rows that came twice may have come in place of others."""
    app = Things("none", count=10, changes={0: lambda told: told.rows.__setitem__(slice(5, 10), told.rows[:5])})
    listing = read(url, app)
    assert (outcome(listing), len(listing.records), app.answers) == ("complete", 10, 2)


@pytest.mark.parametrize("paging", ["cursor", "after"])
def test_a_full_page_that_names_no_other_is_the_end_where_others_do(url: str, paging: Paging) -> None:
    """A hundred rows are all there are if ninety-nine would not have been; a server that never says so proves nothing."""
    app = Things(paging, count=100)
    assert (outcome(read(url, app)), app.answers) == ("complete", 2)
    assert outcome(read(url, Things(paging, always=lambda told: told.rest.clear()))) == "PD323"


def test_a_walk_on_which_rows_moved_is_begun_once_more(url: str) -> None:
    """Pages read at once do not fit together, nor do those of the first walk: the second one is quiet, and proves it."""

    def stirred(told: Told) -> None:
        told.rows.reverse()

    app = Things("classic", changes={1: stirred, 4: stirred})
    listing = read(url, app)
    assert (outcome(listing), whole(listing), app.answers) == ("complete", True, 9)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("paging", ["classic", "cursor", "after", "post"])
def test_an_empty_page_hides_nothing(url: str, paging: Paging, at: int) -> None:
    """One page comes empty although more was promised: what was on it is read again."""
    listing = read(url, Things(paging, changes={at: emptied}))
    assert (outcome(listing), whole(listing)) == ("complete", True)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"total": COUNT + 1}, "PD323"),
        ({"total": COUNT}, "complete"),
        ({"limit": COUNT}, "PD323"),
        ({"limit": COUNT, "more": False}, "complete"),
        ({"limit": COUNT + 1}, "complete"),
        ({"next_cursor": "abc"}, "PD323"),
        ({"more": False, "next_cursor": None}, "complete"),
    ],
)
def test_a_list_that_is_not_paged_may_still_be_cut(url: str, told: dict[str, Any], expected: str) -> None:
    """Paging fields in the body of a list without paging are taken seriously."""
    assert outcome(read(url, Things("none", always=lambda answer: answer.rest.update(told)))) == expected


@pytest.mark.parametrize("told", [(), ("limit",), ("more",), ("total",), ("limit", "more"), ("more", "total")])
@pytest.mark.parametrize("paging", ["classic", "cursor", "after", "post"])
def test_a_server_may_give_fewer_rows_than_are_asked_for(url: str, paging: Paging, told: tuple[str, ...]) -> None:
    """It says what it likes of the rest, or nothing: a page that is shorter than asked for is not the last for that."""

    def change(answer: Told) -> None:
        said = {"limit": 25, **answer.rest}
        where = {name: said[name] for name in ("next_cursor", "after", "last") if name in said}
        answer.rest = where | {name: said[name] for name in told if name in said}

    listing = read(url, Things(paging, always=change, most=25))
    assert (outcome(listing), whole(listing)) == ("complete", True)


@pytest.mark.parametrize(
    ("count", "most", "requests"), [(1, 100, 2), (99, 100, 2), (101, 100, 3), (100, 10, 14), (100, 3, 51)]
)
def test_what_follows_a_page_that_says_nothing_is_looked_for_once(
    url: str, count: int, most: int, requests: int
) -> None:
    """The next page tells, which begins with a few rows of this one: there are few such where pages are short."""
    things = Things("classic", count=count, most=most, always=lambda answer: answer.rest.clear())
    listing = read(url, things)
    assert (outcome(listing), len(listing.records), things.answers) == ("complete", count, requests)


def test_pages_of_one_row_each_prove_nothing(url: str) -> None:
    """None can be held against the one before."""
    assert outcome(read(url, Things("classic", most=1))) == "PD323"


CHANGES = st.dictionaries(
    st.integers(0, 8),
    st.sampled_from([*PASSING.values(), emptied, doubled, promising, silent, shrinking, refused(403), refused(404)]),
    max_size=4,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGES)
def test_a_classic_list_called_complete_is(url: str, changes: dict[int, Change]) -> None:
    """Whatever mixture of faults: complete means whole."""
    listing = read(url, Things("classic", changes=changes))
    assert listing.problem is not None or set(listing.records) == {f"T{number:04}" for number in range(COUNT)}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["cursor", "after", "post"]),
    st.dictionaries(
        st.integers(0, 8), st.sampled_from([*PASSING.values(), repeating, doubled, promising, silent]), max_size=4
    ),
)
def test_a_list_by_cursor_called_complete_is(url: str, paging: Paging, changes: dict[int, Change]) -> None:
    """The same of one that nothing counts, whose pages may hold what others did."""
    listing = read(url, Things(paging, changes=changes))
    assert listing.problem is not None or set(listing.records) == {f"T{number:04}" for number in range(COUNT)}
