"""Whose records they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pdsync.model import Collection, Query, Record, Snapshot
from pdsync.subdomain import account_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ACME = "https://acme.pagerduty.com/services/P1"


def read(kind: str = "services", *addresses: object, taken: int = 0) -> Collection:
    raws = [json.dumps({"id": f"P{n}", "html_url": address}).encode() for n, address in enumerate(addresses)]
    records = tuple(Record(f"P{n}", raw) for n, raw in enumerate(raws))
    return Collection(Query(kind), records, taken=taken)


def account(*lists: Collection) -> str:
    return account_of(Snapshot("pd", "2026-06-01T12:00:00Z", {each.query: each for each in lists}))


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [None],
        [5],
        ["/services/P1"],
        ["https://[acme/"],
        ["\ud800"],
        [ACME, "https://other.pagerduty.com/services/P2"],
        [ACME, *["https://pages.example.com/P"] * 100],
    ],
)
def test_what_does_not_tell_with_one_voice_names_no_account(addresses: Sequence[object]) -> None:
    """Then nobody knows, and nothing is held against what is owned."""
    assert account(read("services", *addresses)) == ""


def test_records_that_have_a_page_name_the_account() -> None:
    """However it is written; some may have none."""
    assert account(read("services", None, "https://ACME.pagerduty.com:443/x"), read("users", ACME)) == (
        "acme.pagerduty.com"
    )


def test_lists_that_disagree_name_none() -> None:
    """Neither is believed."""
    assert account(read("services", ACME), read("users", "https://other.pagerduty.com/users/P0")) == ""


def test_kinds_whose_pages_may_be_elsewhere_are_not_asked() -> None:
    """A status page has an address of its customer's."""
    assert account(read("status_pages", "https://status.example.com/")) == ""


def test_what_was_taken_over_does_not_tell() -> None:
    """It was read earlier, maybe with the credentials of another account."""
    old = "https://other.pagerduty.com/incidents/P0"
    assert account(read("incidents", old, old, ACME, taken=2)) == "acme.pagerduty.com"
    assert account(read("incidents", old, taken=1)) == ""
