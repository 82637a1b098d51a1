"""Lists under a parent: the parents are listed first, then one list for each of them.

A schedule that became shift-based is a parent as well.  Whether anything is listed under its old path is not
documented; where nothing is, what was made from that stays: it is still there, and listed elsewhere.

Every record gets a reference to its parent under `__parent`: its kind, `id`, `type`, `summary` and `html_url` as far
as there are, and the parent's own `__parent`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import starmap
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import msgspec

from pdsync.completeness import is_too_short
from pdsync.kinds import KINDS, PARENT, PARENT_PREFIX, Kind, Parent
from pdsync.recordfile import splice
from pdsync.sources.pagerduty import v3
from pdsync.sources.pagerduty.apart import Apart
from pdsync.sources.pagerduty.listing import Lister, Listing, Place, Tally
from pdsync.sources.pagerduty.moments import wire_params
from pdsync.sources.pagerduty.problems import unreadable
from pdsync.sources.pagerduty.records import FieldReader, Malformed, PageReader
from pdsync.sources.pagerduty.taking import Once
from pdsync.sources.pagerduty.tasks import together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
    from datetime import datetime

    from pdsync.sources.pagerduty.listing import Asker, ListKey
    from pdsync.sources.pagerduty.moments import Params
    from pdsync.sources.pagerduty.shelf import Shelf

_KEPT = ("id", "type", "summary", "html_url", PARENT)
_REFERENCE = msgspec.json.Decoder(
    msgspec.defstruct(
        "Reference", [("f_" + name, msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw(b""))) for name in _KEPT]
    )
)

_ID = FieldReader(["id"])


def reference(kind: str, raw: bytes) -> bytes:
    """What stands for a record in the records below it."""
    record: Any = _REFERENCE.decode(raw)
    parts = {"kind": msgspec.json.encode(kind)} | {name: bytes(getattr(record, "f_" + name)) for name in _KEPT}
    return splice(b"{}", {name: part for name, part in parts.items() if part})


def is_nested(kind: Kind) -> bool:
    """Whether a kind has anything in its path to be filled in."""
    return bool(kind.parents)


def parents_in_use(kind: Kind, params: Params) -> list[Parent]:
    """The parents that a query asks for: those whose fixed parts it names, or all."""
    chosen = {pair for pair in params if pair[0].startswith("{")}
    if not chosen:
        return list(kind.parents)
    return [parent for parent in kind.parents if any((f"{{{name}}}", value) in chosen for name, value in parent.fixed)]


def parent_lists(kind: Kind, params: Params) -> list[ListKey]:
    """The lists of parents that a nested list is read under, each once."""
    above = tuple((name.removeprefix(PARENT_PREFIX), value) for name, value in params if name.startswith(PARENT_PREFIX))
    if kind.inside:
        above = tuple(dict.fromkeys((*above, ("include[]", kind.rows))))
    return list(dict.fromkeys((parent.kind, above) for parent in parents_in_use(kind, params) if parent.kind))


def own_params(params: Params) -> Params:
    """The parameters of a nested list that are sent for it."""
    return tuple(pair for pair in params if not pair[0].startswith((PARENT_PREFIX, "{")))


@dataclass(frozen=True, slots=True)
class _Branch:
    """One list to read: where it is, the values in its path, the reference to its parent (empty: it has none)."""

    place: Place
    values: tuple[str, ...]
    parent: bytes


class Had(NamedTuple):
    """What there was before, by id with its parent: all, and what should not be missing, perhaps of unknown parents."""

    parents: Callable[[], Mapping[str, str]] = dict
    owned: Mapping[str, str] = MappingProxyType({})


class Branches:
    """Lists under single parents, for several queries of one kind that differ in which parents they are about.

    Each is read once; `shared` are the queries, as lists, that have any of them in common.
    """

    def __init__(self) -> None:
        self._read: Once[tuple[str, Params], Listing] = Once()
        self._readers: dict[tuple[str, Params], ListKey] = {}
        self.shared: set[ListKey] = set()

    async def get(self, path: str, wire: Params, who: ListKey, job: Callable[[], Awaitable[Listing]]) -> Listing:
        """What `job` gives, or gave to whoever asked for the same first."""
        first = self._readers.setdefault((path, wire), who)
        if first != who:
            self.shared |= {first, who}
        return await self._read.get((path, wire), job)


class Nest:
    """Reads one nested kind.

    Args:
        asker: sends the requests.
        kind: what is read.
        params: as in a query.
        now: the moment that relative ones refer to.
        lists: reads a list, each once however often it is asked for.
        afresh: reads a list again.
        had: what there was before.
        branches: lists under single parents that others read, too (None: nobody does).
        tally: counts parents.
        shelf: where records are put.
    """

    def __init__(
        self,
        asker: Asker,
        kind: Kind,
        params: Params,
        now: datetime,
        *,
        lists: Callable[[str, Params], Coroutine[Any, Any, Listing]],
        afresh: Callable[[str, Params], Coroutine[Any, Any, Listing]],
        had: Had | None = None,
        branches: Branches | None = None,
        tally: Tally,
        shelf: Shelf,
    ) -> None:
        self._asker = asker
        self._kind = kind
        self._params = params
        self._now = now
        self._lists = lists
        self._afresh = afresh
        self._before = had or Had()
        self._shared = branches
        self._empty: list[_Branch] = []
        self._short: set[str] = set()
        self._parents: set[str] = set()
        self._shift_based: set[str] = set()
        self._moved: set[str] = set()
        self._hides_parents = False
        self._hidden: set[str] = set()
        self._bare = False
        self._tally = tally
        self._shelf = shelf
        self._wire = wire_params(kind, own_params(params), now)
        self._readers: dict[str, PageReader] = {}

    async def read(self) -> Listing:
        """All records under all parents; incomplete when the parents are, or when one of them could not be read."""
        keys = parent_lists(self._kind, self._params)
        above = dict(zip(keys, await together(self._lists(*key) for key in keys), strict=True))
        self._look_at(above.values())
        whole = self._inside(above) if self._kind.inside else await self._apart(above)
        if self._empty and not self._before.owned.keys() <= whole.records.keys():
            whole = await self._once_more(whole)
        return self._with_missing(self._under(above, whole))

    def _look_at(self, above: Iterable[Listing]) -> None:
        """Remember which parents are shift-based, and which may be there although they are not listed."""
        for listing in above:
            self._shift_based |= listing.upgraded or frozenset()
            self._hides_parents = self._hides_parents or listing.upgraded is None
            self._hidden |= listing.missing.keys()

    def _under(self, above: Mapping[ListKey, Listing], whole: Listing) -> Listing:
        """The same, incomplete if the parents are."""
        problem = next((listing.problem for listing in above.values() if listing.problem), None)
        failure = next((listing.failure for listing in above.values() if listing.failure), None)
        if problem and not whole.problem:
            detail = f"{self._kind.name}, listed under {problem.detail}"
            return replace(whole, problem=replace(problem, detail=detail), failure=failure)
        return whole

    def _with_missing(self, whole: Listing) -> Listing:
        """The same with what is missing that may be there: under parents whose lists came too short, or all of it."""
        doubtful = {id_: parent for id_, parent in self._had.items() if whole.problem or self._is_in_doubt(parent)}
        owned = {id_: parent for id_, parent in self._owned.items() if self._may_be_there(id_, parent)}
        missing = {id_: parent for id_, parent in (owned | doubtful).items() if id_ not in whole.records}
        known = {**self._owned, **self._had}.items() if self._moved else ()
        moved = {id_: parent for id_, parent in known if parent in self._moved and id_ not in whole.records}
        return replace(whole, missing=missing, moved=moved)

    def _is_in_doubt(self, parent: str) -> bool:
        """Whether what is under a parent may be listed although it did not come: too little did, or it is hidden."""
        hidden = parent in self._hidden or (self._hides_parents and parent not in self._parents)
        return hidden or parent in self._short

    def _may_be_there(self, id_: str, parent: str) -> bool:
        """Whether something owned may be listed although it did not come: of an unknown parent, if any has nothing.

        A parent that is not there is unknown as well: what told of it may be older than the record.
        """
        if parent and parent in self._parents:
            return parent in self._short
        if self._hides_parents or parent in self._hidden:
            return True
        has_prefix = id_.startswith(tuple(self._prefix(branch) for branch in self._empty))
        return self._bare or (bool(self._empty) and (has_prefix or not self._kind.in_parent))

    def _prefix(self, branch: _Branch) -> str:
        """What the ids of records under a parent begin with."""
        return "/".join(branch.values) + "/" if self._kind.in_parent else ""

    async def _apart(self, above: Mapping[ListKey, Listing]) -> Listing:
        """One list for each parent."""
        apart = Apart(self._kind, self._read_one, partial(self._still_there, [*above]), self._tally, self._shelf)
        return await apart.read(self._branches(above))

    def _inside(self, above: Mapping[ListKey, Listing]) -> Listing:
        """What stands in the records of the parents already."""
        reader = PageReader(self._kind)

        def found() -> Iterator[tuple[str, bytes]]:
            for (kind, _), listing in above.items():
                for raw in listing.records.values():
                    page, extra = reader.read(raw), {PARENT: reference(kind, raw)}
                    self._mind(_id_of(raw), len(page.ids))
                    yield from zip(page.ids, (splice(own, extra) for own in page.raws), strict=True)

        try:
            return Listing(self._shelf.keep(found()))
        except Malformed as odd:
            return Listing(problem=unreadable(self._kind, odd), failure=odd)

    def _mind(self, parent: str, count: int) -> None:
        """Remember a parent, one that has too little in it, and that one has nothing."""
        self._parents.add(parent)
        if is_too_short(self._lengths[parent], count):
            self._short.add(parent)
        self._bare = self._bare or not count

    def _branches(self, above: Mapping[ListKey, Listing]) -> dict[str, _Branch]:
        """The lists to read, by the name of their parent."""
        branches = {}
        for parent in parents_in_use(self._kind, self._params):
            records = self._shelf.rows()
            for (kind, _), listing in above.items():
                if kind == parent.kind:
                    records |= listing.records
            for id_, raw in records.items() if parent.kind else [("", b"{}")]:
                if branch := self._branch(parent, raw):
                    branches[_name(self._kind, parent, id_)] = branch
        return branches

    def _branch(self, parent: Parent, raw: bytes) -> _Branch | None:
        """The list under one parent; None where the parent does not have what leads to it."""
        filled = FieldReader(path for _, path in parent.fill).read(raw)
        if any(value is None for value in filled):
            return None
        values = {name: str(value) for (name, _), value in zip(parent.fill, filled, strict=True)} | dict(parent.fixed)
        path = self._kind.path
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        in_order = tuple(sorted(values, key=lambda name: self._kind.path.index(f"{{{name}}}")))
        place = Place(path, self._reader(parent))
        reference_ = reference(parent.kind, raw) if parent.kind else b""
        return _Branch(place, tuple(values[name] for name in in_order), reference_)

    def _reader(self, parent: Parent) -> PageReader:
        """Who reads the pages; where the key of the rows is a part of the path, each value has its own."""
        rows = self._kind.rows
        for name, value in parent.fixed:
            rows = rows.replace(f"{{{name}}}", value)
        if rows not in self._readers:
            self._readers[rows] = PageReader(self._kind, rows)
        return self._readers[rows]

    async def _read_one(self, branch: _Branch) -> Listing:
        if self._moved and (parent := _id_of(branch.parent)) in self._shift_based:
            return self._elsewhere(parent)
        listed = partial(self._listed, branch)
        if self._shared is None:
            return await self._taken_in(branch, await listed())
        who = self._kind.name, self._params
        return await self._taken_in(branch, await self._shared.get(branch.place.path, self._wire, who, listed))

    async def _taken_in(self, branch: _Branch, listing: Listing) -> Listing:
        """What a list has, as it is to be here; asked for once more where it came too short."""
        parent = _id_of(branch.parent)
        self._parents.add(parent)
        if parent in self._shift_based and v3.is_not_there(listing.failure):
            return self._elsewhere(parent)
        if self._fell_short(parent, listing):
            listing = await self._listed(branch)
        if listing.counted is None and self._fell_short(parent, listing):
            self._short.add(parent)
            self._bare = self._bare or not listing.records
        elif not (listing.records or listing.problem) and listing.counted is None:
            self._empty.append(branch)
        extra = {PARENT: branch.parent} if branch.parent else {}
        prefix = self._prefix(branch)
        renamed = ((prefix + id_, splice(raw, extra)) for id_, raw in listing.records.items())
        return replace(listing, records=self._shelf.keep(renamed))

    def _elsewhere(self, parent: str) -> Listing:
        """Nothing: what is under a shift-based schedule is not listed here, nor is what is under the others."""
        self._parents.add(parent)
        self._moved.add(parent)
        self._bare = True  # what is owned and tells no parent may have been under this one
        return Listing()

    async def _once_more(self, whole: Listing) -> Listing:
        """The same with what those lists give that came empty, which nothing counts, now that something is missing."""
        empty, self._empty = self._empty, []
        listings = await together(self._listed(branch) for branch in empty)
        again = await together(starmap(self._taken_in, zip(empty, listings, strict=True)))
        records = self._shelf.rows() | whole.records
        for listing in again:
            records |= listing.records
        problem = whole.problem or next((listing.problem for listing in again if listing.problem), None)
        return replace(whole, records=records, problem=problem)

    async def _listed(self, branch: _Branch) -> Listing:
        quiet = Tally(self._kind.name, None)
        lister = Lister(self._asker, self._kind, self._wire, quiet, place=branch.place, shelf=self._shelf)
        return await lister.read(self._now)

    def _fell_short(self, parent: str, listing: Listing) -> bool:
        """Whether there was much more under a parent; where nothing counts what there is, that is doubted."""
        return listing.problem is None and is_too_short(self._lengths[parent], len(listing.records))

    @cached_property
    def _had(self) -> Mapping[str, str]:
        return self._before.parents()

    @cached_property
    def _owned(self) -> Mapping[str, str]:
        """What is owned, with its parent where anything tells that: if only its id, as far as that begins with it."""
        kind = self._kind
        filled = [([path for _, path in each.fill], each.fixed) for each in kind.parents]
        by_id = kind.in_parent and all(each == (["id"], ()) for each in filled)
        owned = self._before.owned.items()
        return {id_: parent or (id_.partition("/")[0] if by_id else "") for id_, parent in owned}

    @cached_property
    def _lengths(self) -> Counter[str]:
        owned = {id_: parent for id_, parent in self._owned.items() if parent}
        return Counter({**owned, **self._had}.values())

    async def _still_there(self, keys: list[ListKey]) -> set[str]:
        """The names of the parents that exist now; what cannot be told counts as there."""
        above = dict(zip(keys, await together(self._afresh(*key) for key in keys), strict=True))
        if any(listing.problem for listing in above.values()):
            above |= {key: await self._lists(*key) for key in keys}
        return set(self._branches(above))


def _id_of(parent: bytes) -> str:
    """What a record, or a reference to one, is called; empty where a list has no parent."""
    return str(_ID.read(parent)[0] or "") if parent else ""


def _name(kind: Kind, parent: Parent, id_: str) -> str:
    """What a list is called in messages: its parent, or what is fixed; both where one parent has several lists."""
    fixed = "/".join(value for _, value in parent.fixed)
    if not parent.kind:
        return fixed
    several = len({each.kind for each in kind.parents}) < len(kind.parents)
    return f"{parent.kind}/{id_} {fixed}" if several else f"{parent.kind}/{id_}"


def lists_needed(key: ListKey) -> list[ListKey]:
    """A list, and those of everything that it is listed under."""
    kind = KINDS[key[0]]
    above = [below for each in parent_lists(kind, key[1]) for below in lists_needed(each)]
    return [key, *above]
