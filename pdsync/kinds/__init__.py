"""What can be asked of PagerDuty: one row per kind, and the reader that turns a mapping's selector into a `Query`.

shape      what a row is made of
table      the lists, one row each
includes   what `include` changes in a record
analytics  the lists of analytics, which are asked for with POST
names      kinds by any spelling, the scopes that reading them takes
guesses    what was meant by a name that no kind has
moments    what moments in a query mean
values     the value of one selector key
selectors  a whole selector
"""

from pdsync.kinds.includes import ADDED, INCLUDES, PERHAPS
from pdsync.kinds.moments import is_relative, moment, window_end, window_start
from pdsync.kinds.names import KINDS, KindTable, parents_of, scopes_for, suggest
from pdsync.kinds.selectors import SelectorProblem, read_selector
from pdsync.kinds.shape import (
    DAYS_PER_MONTH,
    PARENT,
    PARENT_PREFIX,
    RELATIVE_MOMENT,
    SAME_ROWS,
    Detail,
    Enrichment,
    Kind,
    Option,
    Paging,
    Param,
    ParamType,
    Parent,
    Settled,
    Window,
)
from pdsync.kinds.values import hours_in

__all__ = [
    "ADDED",
    "DAYS_PER_MONTH",
    "INCLUDES",
    "KINDS",
    "PARENT",
    "PARENT_PREFIX",
    "PERHAPS",
    "RELATIVE_MOMENT",
    "SAME_ROWS",
    "Detail",
    "Enrichment",
    "Kind",
    "KindTable",
    "Option",
    "Paging",
    "Param",
    "ParamType",
    "Parent",
    "SelectorProblem",
    "Settled",
    "Window",
    "hours_in",
    "is_relative",
    "moment",
    "parents_of",
    "read_selector",
    "scopes_for",
    "suggest",
    "window_end",
    "window_start",
]
