"""PagerDuty as a source of records.

auth       credentials
source     `PagerDuty`, the `Source`
run        one reading: lists, queries, collections
shares     one list for several queries
earlier    what an earlier snapshot knows already
listing    whole lists, proven whole
trail      a list walked page by page
nested     lists under a parent
details    lists that only give references
apart      many requests that make up one list
v3         shift-based schedules
enrich     what is put into records besides
coming     what of a list is handed on while its other pages are read
early      what of a list's parts is read while others are listed
leaps      analytics of incidents, in few requests
probing    what the credentials can read
records    bytes of records: cut, named, spliced
moments    stretches of time
problems   why a list is not complete
tasks      doing things at the same time
"""

from pdsync.sources.pagerduty.probing import ProbeResult
from pdsync.sources.pagerduty.source import PagerDuty, open_pagerduty

__all__ = ["PagerDuty", "ProbeResult", "open_pagerduty"]
