"""PagerDuty as a source of records.

auth       credentials
listing    whole lists, proven whole
records    bytes of records: cut, named, spliced
enrich     what is put into records besides
source     `PagerDuty`, the `Source`
"""

from pdsync.sources.pagerduty.source import PagerDuty, open_pagerduty

__all__ = ["PagerDuty", "open_pagerduty"]
