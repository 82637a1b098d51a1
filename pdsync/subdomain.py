"""Which PagerDuty account records are of: each account's web application has a host of its own.

The API has one host for all accounts, and no list tells whose token it is asked with.  But records have an `html_url`,
as `https://acme.pagerduty.com/services/PX1` (OpenAPI document, `Reference`): what was applied from one account is not
gone because another one does not have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from pdsync.errors import warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.errors import Diagnostic
    from pdsync.model import Collection, Ledger, Snapshot

_TELLING = frozenset({"services", "escalation_policies", "users", "teams", "schedules", "incidents"})
"""Kinds whose records each have a page in the account's own web application."""

_ASKED = 8
"""About so many records of each list are looked at: that one page is elsewhere must not name the account."""


def account_of(snapshot: Snapshot) -> str:
    """The host of the account that a snapshot was read from; empty where records do not say, or not with one voice."""
    lists = (each for query, each in snapshot.collections.items() if query.kind in _TELLING)
    hosts = {host for each in lists for host in _hosts(each)}
    return hosts.pop() if len(hosts) == 1 else ""


def _hosts(collection: Collection) -> Iterator[str]:
    """The hosts that some records tell of those that were read now: what was taken over may be of another account."""
    new = len(collection.records) - collection.taken
    for record in collection.records[collection.taken :: max(1, new // _ASKED)]:
        if host := _host(record.raw):
            yield host


class _Paged(msgspec.Struct):
    """Of a record, the address of its page alone: nothing else is looked at, and so nothing else can be wrong."""

    html_url: Any = None


_decode = msgspec.json.Decoder(_Paged).decode


def _host(raw: bytes) -> str:
    try:
        address = _decode(raw).html_url
        return (urlsplit(address).hostname or "") if isinstance(address, str) else ""
    except (ValueError, msgspec.DecodeError):  # no text, or no URL
        return ""


def is_another(ledger: Ledger, account: str) -> bool:
    """Whether it is known that what is owned was made from another account."""
    return bool(account and ledger.account and account != ledger.account)


def moved_account(ledger: Ledger, account: str) -> tuple[Diagnostic, ...]:
    """What there is to say where the records are of another account than what is owned."""
    if not is_another(ledger, account):
        return ()
    return (
        warning(
            "PD344",
            "PagerDuty is another account",
            detail=f"the records are of {account}, what is owned was made from {ledger.account}",
            hint="look whose credentials these are; if it is meant, or the account has a new name, apply: "
            "only deletes wait to be allowed",
        ),
    )
