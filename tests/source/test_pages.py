"""Answers that are known from an earlier snapshot: not looked into again, and never believed when they should not be."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pdsync.model import Expression, Query
from pdsync.privacy import Cleaner
from pdsync.recordfile import KeptRecords
from pdsync.sandbox.world import World
from pdsync.sources import Reuse
from pdsync.sources.pagerduty import open_pagerduty
from pdsync.state.snapshot_file import dump_snapshot, parse_snapshot
from tests.builders import HERE, rule
from tests.source.asking import fetch, only, query
from tests.source.loopback import TOKEN, FakeTime, staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import Collection, Snapshot
    from tests.source.loopback import Stage

WIDE: dict[str, Any] = {"date_range": "all"}


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staging(World(services=130, users=10, incidents=450, incident_days=100), limit_per_minute=10**6) as staged:
        yield staged


def kept(snapshot: Snapshot, change: tuple[bytes, bytes] = (b"", b"")) -> Snapshot:
    """The snapshot after it was written down and read again, with something in it replaced."""
    return parse_snapshot(b"".join(dump_snapshot(snapshot)).replace(*change), "old.jsonl")


def ids(collection: Collection) -> list[str]:
    return [record.id for record in collection.records]


def taken_over(collection: Collection) -> list[str]:
    """The records that stand where the earlier snapshot has them."""
    assert isinstance(collection.records, KeptRecords)
    rows = collection.records.rows
    return [id_ for number, id_ in enumerate(rows.ids) if rows.source.whence(rows.offset(number)) == "old.jsonl"]


def cleaned(stage: Stage, wanted: Query, cleaner: Cleaner, previous: Snapshot | None = None) -> Snapshot:
    async def main() -> Snapshot:
        async with open_pagerduty(stage.url, token=TOKEN, now=stage.now, timing=FakeTime().timing()) as source:
            return await source.fetch([wanted], None, Reuse(previous), cleaner)

    return asyncio.run(main())


@pytest.mark.parametrize("wanted", [query("incidents", apiQueryParams=WIDE), Query("services")], ids=str)
def test_what_did_not_change_stays_where_it_is(stage: Stage, wanted: Query) -> None:
    """All of it, however often; and the snapshots are the same."""
    first = previous = fetch(stage, wanted)
    for _ in range(2):
        previous = fetch(stage, wanted, previous=kept(previous))
        assert taken_over(only(previous)) == ids(only(first))
        assert (only(previous).records, previous.digest, previous.read) == (
            only(first).records,
            first.digest,
            first.read,
        )


def test_an_answer_that_changed_is_read_and_the_others_are_not(stage: Stage) -> None:
    """The page of a record that changed, and no other one."""
    first = fetch(stage, Query("services"))
    changed = ids(only(first))[-1]
    stage.world.mutate(
        {"action": "rename_service", "id": changed, "name": "\U0001f98a"}
    )  # the last one by name as before
    second = fetch(stage, Query("services"), previous=kept(first))
    missing = set(ids(only(second))) - set(taken_over(only(second)))
    assert changed in missing
    assert len(missing) < len(ids(only(second)))
    assert only(second).records == only(fetch(stage, Query("services"))).records


def test_what_the_snapshot_has_lost_since_is_read(stage: Stage) -> None:
    """Answers that are known, of records that the snapshot no longer has, or has otherwise."""
    first = kept(fetch(stage, Query("services")))
    whole = only(first)
    other = replace(whole, records=tuple(whole.records)[1:])
    for records in (replace(first, collections={}), replace(first, collections={other.query: other})):
        second = only(fetch(stage, Query("services"), previous=kept(records)))
        assert second.records == whole.records
        assert len(taken_over(second)) < len(whole.records)


def test_what_was_taken_out_is_read_once_it_is_mapped(stage: Stage) -> None:
    """And the other way round: what is private now does not stay because an answer is known."""
    nobody = Cleaner([])
    reader = Cleaner([replace(rule(paths=()), fields={"key": Expression(".integrations[].integration_key", HERE)})])
    wanted = query("services", apiQueryParams={"include": ["integrations"]})
    for before, now in [(nobody, reader), (reader, nobody)]:
        second = cleaned(stage, wanted, now, kept(cleaned(stage, wanted, before)))
        assert taken_over(only(second)) == []
        assert only(second).records == only(cleaned(stage, wanted, now)).records


def test_what_was_cleaned_by_other_rules_is_cleaned_anew(stage: Stage) -> None:
    """A pdsync that knew less of what is private has left it in the records that stand there."""
    first = fetch(stage, Query("services"))
    assert taken_over(only(fetch(stage, Query("services"), previous=kept(first)))) == ids(only(first))
    rules, *left_in = first.read.private
    older = replace(first, read=replace(first.read, private=(rules[::-1], *left_in)))
    second = fetch(stage, Query("services"), previous=kept(older))
    assert (taken_over(only(second)), second.read) == ([], first.read)


def test_a_damaged_record_is_taken_from_the_answer(stage: Stage) -> None:
    """And so are the others of its page; that is said, once."""
    changed = ids(only(fetch(stage, Query("services"))))[0]
    stage.world.mutate({"action": "rename_service", "id": changed, "name": "zebra"})
    spoilt = kept(fetch(stage, Query("services")), (b"zebra", b"zobra"))
    second = fetch(stage, Query("services"), previous=spoilt)
    assert only(second).records == only(fetch(stage, Query("services"))).records
    assert 0 < len(taken_over(only(second))) < len(ids(only(second)))
    (note,) = second.notes
    assert (note.code, note.severity.value) == ("PD514", "warning")
    assert ("old.jsonl" in note.detail, "services" in note.detail) == (True, True)
    assert fetch(stage, Query("services"), previous=kept(second)).notes == ()
