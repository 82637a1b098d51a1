"""What a kind is: where it is listed, how its list is paged, what names a record, what a selector may say.

Named tuples, because there are hundreds of them in every process: they are made many times faster than dataclasses.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

DAYS_PER_MONTH = 30
"""Months in a selector are blocks of this many days, as in Port's integration."""

RELATIVE_MOMENT = re.compile(r"[+-]\d{1,6}[dh]|now")
"""A moment relative to the fetch, in days or hours."""

SAME_ROWS = frozenset({"include", "sort_by", "time_zone", "order", "order_by", "additional_fields"})
"""Names of parameters that do not make a list shorter."""

PARENT = "__parent"
"""The key under which a record of a nested list carries a reference to what it is listed under."""

PARENT_PREFIX = "parents."
"""Begins the names of parameters that are about the list of parents."""

ParamType = Literal["text", "texts", "choice", "choices", "sorting", "since", "until", "zone", "flag", "number"]
Paging = Literal["classic", "cursor", "after", "post", "none"]
Stage = Literal["current", "early_access", "deprecated", "end_of_life"]


class Param(NamedTuple):
    """A key under `apiQueryParams` and the parameter it becomes.

    `wire` is its name in the query string; `{name}` is a part of the path, `filters.name` stands in the body of a
    POST.  `also` are other spellings of the key.  `default` is sent when `apiQueryParams` is there but the key is
    not; `minimum` and `maximum` bound numbers and months: PagerDuty refuses what is beyond, or `cuts` it, of which it
    is enough to warn.  `past` marks a bound in time that nothing lies beyond.  `local` is the field of a record that a
    filter is about, where a record in hand tells whether it fits; `near` the same where the reference does not say so
    plainly ("related to these teams") that PagerDuty need not be asked, too; `[]` ends a step that leads to many.
    """

    name: str
    wire: str
    type: ParamType
    allowed: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = None
    cuts: bool = False
    required: bool = False
    past: bool = False
    local: str = ""
    near: str = ""
    also: tuple[str, ...] = ()


class Option(NamedTuple):
    """A key beside `apiQueryParams` that switches or tunes an enrichment."""

    name: str
    type: Literal["flag", "count"]
    default: str
    maximum: int | None = None


class Enrichment(NamedTuple):
    """Something fetched besides and put into each record under `name`.

    It is wanted when the option `when` is on (empty: always); its argument is the value of the option `argument`.
    `kinds` are those it is read from, for the permissions it takes.  What is `daily` has a small budget a day and
    changes slowly: it is not read again within a day.
    """

    name: str
    when: str = ""
    argument: str = ""
    kinds: tuple[str, ...] = ()
    daily: bool = False


class Window(NamedTuple):
    """A kind that is listed by time, and so can be read in slices of time.

    Without bounds the list reaches from `back_days` before now (None: nobody says from when) to `ahead_days` after it
    (a day more than it needs costs nothing); no list may span more than `widest_days`, or look further ahead than
    `furthest_days`.  `everything` is the parameter
    that lifts the bounds, and `field` the moment in a record that they are about; a `sortable` list can be had by it.
    Where a record is not of a moment but of a time, which only has to touch that of the list, `period` are its two ends
    (null: open); then each bound that is not given is now.  `first` is a parameter with which only the earliest record
    is listed of all that have the same values in some fields: each part of such a list has an earliest one of its own.
    """

    widest_days: int
    back_days: int | None
    ahead_days: int
    field: str = ""
    everything: tuple[str, str] | None = None
    furthest_days: int | None = None
    since: str = "since"
    until: str = "until"
    sortable: bool = False
    period: tuple[str, str] | None = None
    first: tuple[str, tuple[str, ...]] | None = None


class Parent(NamedTuple):
    """A kind that another one is listed under.

    `fill` says for each part of the path which field of the parent's record fills it, `fixed` which have a value of
    their own.  An empty `kind` means that there is no parent, only fixed values.
    """

    kind: str
    fill: tuple[tuple[str, str], ...] = ()
    fixed: tuple[tuple[str, str], ...] = ()


class Detail(NamedTuple):
    """Where a record is shown alone, under which key, for lists that only give references."""

    path: str
    key: str


class Settled(NamedTuple):
    """When a record no longer changes: `field` has `value`.

    `unsettled` are the parameters that list the others; `harmless` the parameters of a query under which a record
    that is settled once cannot come or go but by time.
    """

    field: str
    value: str
    unsettled: tuple[tuple[str, str], ...]
    harmless: frozenset[str]


class Kind(NamedTuple):
    """A PagerDuty record type.

    `id` are dotted paths whose values joined by `-` name a record; `a.b|word` stands for `word` where the path is
    null, a null path without a word is left out, `.` is the record itself.  Where `in_parent` is set that name is
    only unique under one parent.  `unless_given` are parameters sent when the query has none of that name.

    The records of a kind that is `inside` stand in those of their parent under the key of its rows, when that is asked
    to include them: PagerDuty has no list of them.

    `page_size` is what is asked for at most (0: the list takes no limit), `counted` whether the list can tell its
    total, `most` how many rows a list that is not paged ever gives.  `scope` is what an OAuth app must be granted;
    empty where the API reference names none.  `also` is a kind whose records belong to this one as well.  `instead`
    names what to use in the place of a kind that goes away.
    """

    name: str
    path: str
    rows: str
    paging: Paging = "classic"
    id: tuple[str, ...] = ("id",)
    params: tuple[Param, ...] = ()
    options: tuple[Option, ...] = ()
    enrichments: tuple[Enrichment, ...] = ()
    unless_given: tuple[tuple[str, str], ...] = ()
    window: Window | None = None
    scope: str = ""
    parents: tuple[Parent, ...] = ()
    in_parent: bool = False
    method: Literal["GET", "POST"] = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    page_size: int = 100
    counted: bool = True
    most: int = 0
    stage: Stage = "current"
    instead: str = ""
    daily: bool = False
    detail: Detail | None = None
    also: str = ""
    settled: Settled | None = None
    inside: bool = False
