"""What each value of `include` puts into a record, so that it can be taken out again.

An included object stands where a reference to it stood, with the fields that the reference has among its own
(PagerDuty REST API, References and Includes).  Values that are not here change records in ways that PagerDuty's
documentation does not tell: `users` and `priorities` of incidents, `subdomains` of users.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDED, PERHAPS = "+", "?"
"""End the path of a field that is only there when it is asked for: as documented, or as it seems to be.

Other paths lead to objects in place of references.  `[]` ends a step that leads to each item of a list.
"""

INCLUDES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "services": {
            "escalation_policies": "escalation_policy",
            "teams": "teams[]",
            "integrations": "integrations[]",
            "auto_pause_notifications_parameters": "auto_pause_notifications_parameters?",
        },
        "incidents": {
            "acknowledgers": "acknowledgements[].acknowledger",
            "agents": "last_status_change_by",
            "assignees": "assignments[].assignee",
            "conference_bridge": "conference_bridge+",
            "escalation_policies": "escalation_policy",
            "first_trigger_log_entries": "first_trigger_log_entry",
            "services": "service",
            "teams": "teams[]",
        },
        "schedules": {
            "schedule_layers": "schedule_layers?",
            "final_schedule": "final_schedule?",
            "overrides_subschedule": "overrides_subschedule?",
        },
        "oncalls": {"users": "user", "escalation_policies": "escalation_policy", "schedules": "schedule"},
        "escalation_policies": {
            "services": "services[]",
            "teams": "teams[]",
            "targets": "escalation_rules[].targets[]",
            "escalation_rule_assignment_strategies": "escalation_rules[].escalation_rule_assignment_strategy?",
        },
        "users": {
            "contact_methods": "contact_methods[]",
            "notification_rules": "notification_rules[]",
            "teams": "teams[]",
        },
    }
)
"""Where the objects are that a value of `include` asks for, by kind and value."""
