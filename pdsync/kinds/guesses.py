"""What was probably meant by a name that no kind has."""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.kinds.names import KINDS, NO_LETTER, PLACE

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPELLINGS = MappingProxyType({NO_LETTER.sub("", name.lower()): name for name in [*KINDS]})
_ASKED = re.compile(r"(?:[A-Z]+\s+)?(?:https?://[^/]+)?(?P<path>/[^?#]*|[^\s/?#]+/[^\s?#]+)(?:[?#].*)?")
_SHOWN = 3

NOT_LISTED: Mapping[str, str] = MappingProxyType(
    {
        "alerts": "alerts are listed by incident: incidents.alerts",
        "auditlogs": "audit logs are the kind audit.records",
        "contactmethods": "contact methods are listed by user: users.contact_methods, or users with include: "
        "[contact_methods]",
        "customfields": "services.custom_fields, incidents.types.custom_fields, or includeCustomFields: true",
        "incidentanalytics": "analytics.raw.incidents, or incidents with incidentAnalytics: true",
        "integrations": "integrations are listed by service: services.integrations",
        "members": "members are listed by team: teams.members",
        "notes": "notes are listed by incident: incidents.notes",
        "notificationrules": "notification rules are listed by user: users.notification_rules",
        "orchestrations": "orchestrations are the kind event_orchestrations",
        "overrides": "overrides are listed by schedule: schedules.overrides, schedules_v3.overrides",
        "serviceanalytics": "analytics.metrics.incidents.services, or services with serviceAnalytics: true",
        "servicedependencies": "service_dependencies.technical_services or service_dependencies.business_services",
        "usersidtags": "tags of users, teams and escalation policies are the kind entity_tags",
        "userstags": "tags of users, teams and escalation policies are the kind entity_tags",
        "teamstags": "tags of users, teams and escalation policies are the kind entity_tags",
        "webhooks": "webhooks are the kind webhook_subscriptions",
    }
)
"""What people ask for that PagerDuty does not list so, letters and digits only, with what to do instead."""

ANY_LIST = "it is the name or the path of one of PagerDuty's lists, such as services or teams/{id}/members"


def hint_for(kind: str) -> str:
    """What was probably meant by a name that is no kind's; the surest guess goes first."""
    folded = NO_LETTER.sub("", kind.lower())
    if meant := _by_address(kind) or _SPELLINGS.get(folded) or _SPELLINGS.get(f"{folded}s"):
        return _one_of([meant])
    if told := NOT_LISTED.get(folded) or NOT_LISTED.get(f"{folded}s"):
        return told
    if ends := [name for name in KINDS if NO_LETTER.sub("", name.rpartition(".")[2]) in {folded, f"{folded}s"}]:
        return _one_of(ends)
    if close := get_close_matches(folded, _SPELLINGS, n=1, cutoff=0.7):
        return _one_of([_SPELLINGS[close[0]]])
    words = re.findall("[a-z0-9]+", kind.lower())
    return _one_of(named) if words and (named := _with_word(words[-1])) else ANY_LIST


def _by_address(kind: str) -> str:
    """The list that a path or an address is one of, as it stands in a reference (`GET /teams/:id`) or a browser."""
    if (asked := _ASKED.fullmatch(kind.strip())) is None:
        return ""
    path = asked["path"].strip("/")
    fitting = [name for name, row in KINDS.items() if re.fullmatch(PLACE.sub("[^/]+", row.path.strip("/")), path)]
    return min(fitting, key=lambda name: len(PLACE.findall(KINDS[name].path)), default="")


def _with_word(word: str) -> list[str]:
    return [name for name in KINDS if {word, f"{word}s"} & {*re.split(r"[._]", name)}]


def _one_of(names: list[str]) -> str:
    """The one that was meant, or the first of several: those that are under the fewest others."""
    if len(names) == 1:
        return f'did you mean "{names[0]}"?'
    return f"perhaps {' or '.join(sorted(names, key=lambda name: name.count('.'))[:_SHOWN])}"
