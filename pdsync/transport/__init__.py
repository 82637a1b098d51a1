"""One HTTP client for PagerDuty and Port: credentials, retries, rate limits, and nothing secret in what it says.

`client` asks: `gate` and `pacing` say when, `stopping` until when, `credentials` as whom; `lanes` are its connections,
by way of `proxies`.  `exchange` is what goes to and fro, `problems` what comes in place of an answer; `wording` and
`connecting` say why.
"""

from __future__ import annotations

from pdsync.transport.client import ACCEPTED, ApiClient, Timing
from pdsync.transport.connecting import check_url, in_vain, in_words, open_lanes
from pdsync.transport.credentials import Auth, FixedHeaders
from pdsync.transport.exchange import Exchange, Reply, read_json
from pdsync.transport.pacing import PAGERDUTY_LIMITS, PORT_LIMITS, LimitHeaders
from pdsync.transport.problems import ApiError, Complaint, Spent, Unreachable, read_complaint
from pdsync.transport.proxies import is_loopback, named_proxy, proxy_for
from pdsync.transport.wording import pointed_to

__all__ = [
    "ACCEPTED",
    "PAGERDUTY_LIMITS",
    "PORT_LIMITS",
    "ApiClient",
    "ApiError",
    "Auth",
    "Complaint",
    "Exchange",
    "FixedHeaders",
    "LimitHeaders",
    "Reply",
    "Spent",
    "Timing",
    "Unreachable",
    "check_url",
    "in_vain",
    "in_words",
    "is_loopback",
    "named_proxy",
    "open_lanes",
    "pointed_to",
    "proxy_for",
    "read_complaint",
    "read_json",
]
