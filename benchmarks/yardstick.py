"""The straightforward pipeline: what one would write first, and what many integrations are.

Every list page by page, every record parsed, one compiled and cached jq program per expression, all of Port read by
search, DeepDiff on every pair.  It honours the same catalog and must come to the same plan as pdsync.

`python -m benchmarks.yardstick CATALOG FILE` reads the environment that pdsync reads and writes to FILE what it would
do and how long each phase took.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jq
from deepdiff import DeepDiff

from pdsync.catalog import load_catalog
from pdsync.model import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pdsync.model import Catalog, MappingRule, Query, SearchQuery

Record = dict[str, Any]
Params = list[tuple[str, str]]
Entities = dict[tuple[str, str], dict[str, Any]]
"""Mapped paths (`title`, `properties.url`, `relations.service`) by blueprint and identifier; nulls left out."""

PAGE = 100
MOST = 10_000
"""So far into a list PagerDuty pages."""
PORT_PAGE = 1000
ANALYTICS_PAGE = 1000
SERVICES_AT_ONCE = 500


# --- PagerDuty -------------------------------------------------------------------------------------------------


class PagerDuty:
    """Lists, page after page, with the enrichments that the mappings use."""

    def __init__(self, base_url: str, token: str) -> None:
        headers = {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=60)
        self._now = datetime.now(UTC)
        self._lists: dict[tuple[str, tuple[tuple[str, str], ...]], list[Record]] = {}

    def records(self, query: Query) -> list[Record]:
        """The records that a query asks for, enriched."""
        records = [dict(record) for record in self._all(query.kind, query.params)]
        for name, argument in query.enrich:
            ENRICHMENTS[query.kind, name](self, records, argument)
        return records

    def _all(self, kind: str, params: tuple[tuple[str, str], ...]) -> list[Record]:
        """A whole list; one that was read already is not read again."""
        if (kind, params) not in self._lists:
            asked = [(name, self._moment(value)) for name, value in params]
            found = (record for part in self._parts(kind, asked) for record in self._pages(kind, part))
            # Rows of on-calls have no id, nor do they come twice.
            by_id = {record.get("id", number): record for number, record in enumerate(found)}
            self._lists[kind, params] = list(by_id.values())
        return self._lists[kind, params]

    def _parts(self, kind: str, asked: Params) -> list[Params]:
        """What to ask for, stretch by stretch of time where a list is too long to be paged through."""
        params = (*asked, ("limit", "1"), ("total", "true"))
        total = self._client.get(f"/{kind}", params=params).raise_for_status().json()["total"] or 0
        since = dict(asked).get("since")
        if total <= MOST or since is None:
            return [asked]
        rest = [pair for pair in asked if pair[0] != "since"]
        start, count = datetime.fromisoformat(since), 1 + 4 * total // MOST
        step = (self._now - start) / count
        # A second too much: nobody has to know on which side of a border a record is.
        ends = [(start + n * step, start + (n + 1) * step + timedelta(seconds=1)) for n in range(count)]
        return [[*rest, ("since", _iso(begin)), ("until", _iso(end))] for begin, end in ends]

    def _pages(self, kind: str, asked: Params) -> Iterator[Record]:
        offset, more = 0, True
        while more:
            reply = self._client.get(f"/{kind}", params=[*asked, ("limit", str(PAGE)), ("offset", str(offset))])
            page = reply.raise_for_status().json()
            yield from page[kind]
            offset, more = offset + PAGE, page["more"]

    def _moment(self, value: str) -> str:
        """Days before or after now as a time; anything else as it is."""
        if re.fullmatch(r"[+-]\d+d", value):
            return _iso(self._now + timedelta(days=int(value[:-1])))
        return value

    def on_calls(self, records: list[Record], name: str, policy_of: str) -> None:
        """Who is on call, by escalation policy."""
        by_policy = defaultdict(list)
        for row in self._all("oncalls", (("include[]", "users"),)):
            by_policy[row["escalation_policy"]["id"]].append(row)
        for record in records:
            policy = record[policy_of]["id"] if policy_of else record["id"]
            record[name] = by_policy[policy]

    def emails(self, schedules: list[Record]) -> None:
        """The e-mail address of each user of a schedule."""
        emails = {user["id"]: user["email"] for user in self._all("users", ())}
        for schedule in schedules:
            schedule["users"] = [
                {**user, "__email": emails[user["id"]]} if user["id"] in emails else user for user in schedule["users"]
            ]

    def service_analytics(self, services: list[Record], months: int) -> None:
        """One row of metrics for each service."""
        window = {
            "created_at_start": _iso(self._now - timedelta(days=30 * months)),
            "created_at_end": _iso(self._now),
        }
        rows: dict[str, Record] = {}
        for start in range(0, len(services), SERVICES_AT_ONCE):
            ids = [service["id"] for service in services[start : start + SERVICES_AT_ONCE]]
            body = {"filters": {"service_ids": ids, **window}}
            reply = self._client.post("/analytics/metrics/incidents/services", json=body).raise_for_status()
            rows |= {row["service_id"]: row for row in reply.json()["data"]}
        for service in services:
            service["__analytics"] = rows.get(service["id"])

    def incident_analytics(self, incidents: list[Record]) -> None:
        """The analytics row of each incident."""
        if not incidents:
            return
        made = [incident["created_at"] for incident in incidents]
        last = datetime.fromisoformat(max(made)) + timedelta(seconds=1)
        window = {"created_at_start": min(made), "created_at_end": _iso(last)}
        body: dict[str, Any] = {"filters": window, "limit": ANALYTICS_PAGE, "order_by": "created_at"}
        rows: dict[str, Record] = {}
        more = True
        while more:
            page = self._client.post("/analytics/raw/incidents", json=body).raise_for_status().json()
            rows |= {row["id"]: row for row in page["data"]}
            body["starting_after"], more = page["last"], page["more"]
        for incident in incidents:
            incident["__analytics"] = rows.get(incident["id"])


ENRICHMENTS: dict[tuple[str, str], Callable[[PagerDuty, list[Record], str], None]] = {
    ("services", "__oncall_user"): lambda api, rows, _: api.on_calls(rows, "__oncall_user", "escalation_policy"),
    ("services", "__analytics"): lambda api, rows, months: api.service_analytics(rows, int(months)),
    ("incidents", "__analytics"): lambda api, rows, _: api.incident_analytics(rows),
    ("schedules", "__email"): lambda api, rows, _: api.emails(rows),
    ("escalation_policies", "__oncall_users"): lambda api, rows, _: api.on_calls(rows, "__oncall_users", ""),
}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- mapping ---------------------------------------------------------------------------------------------------


@cache
def compiled(text: str) -> Any:
    """The jq program of an expression, compiled once."""
    return jq.compile(text)


def value_of(expression: Expression | SearchQuery, record: Record) -> Any:
    """What an expression gives for a record; null when it fails or gives nothing."""
    assert isinstance(expression, Expression)
    try:
        return compiled(expression.text).input_value(record).first()
    except (ValueError, StopIteration):
        return None


def mapped(rules: Iterable[MappingRule], records: Mapping[Query, list[Record]]) -> tuple[Entities, Entities]:
    """The entities that shall be, and the paths that each of them sets to null."""
    entities: Entities = {}
    cleared: Entities = {}
    for rule in rules:
        for record in records[rule.query]:
            if value_of(rule.selector, record) is not True:
                continue
            key = value_of(rule.blueprint, record), str(value_of(rule.identifier, record))
            values = {path: value_of(expression, record) for path, expression in rule.fields.items()}
            entities[key] = {path: value for path, value in values.items() if value is not None}
            cleared[key] = {path: None for path, value in values.items() if value is None}
    return entities, cleared


# --- Port ------------------------------------------------------------------------------------------------------


class Port:
    """All entities of a blueprint, by search."""

    def __init__(self, base_url: str, client_id: str, client_secret: str) -> None:
        self._client = httpx.Client(base_url=base_url, timeout=60)
        body = {"clientId": client_id, "clientSecret": client_secret}
        token = self._client.post("/v1/auth/access_token", json=body).raise_for_status().json()["accessToken"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def entities(self, blueprints: Iterable[str]) -> Entities:
        """What there is of these blueprints; nothing of one that is not there yet."""
        found: Entities = {}
        for blueprint in blueprints:
            for entity in self._search(blueprint):
                found[blueprint, entity["identifier"]] = _flat(entity)
        return found

    def _search(self, blueprint: str) -> Iterator[Record]:
        body: dict[str, Any] = {"limit": PORT_PAGE}
        while True:
            reply = self._client.post(f"/v1/blueprints/{blueprint}/entities/search", json=body)
            if reply.status_code == httpx.codes.NOT_FOUND:
                return
            page = reply.raise_for_status().json()
            yield from page["entities"]
            if not page.get("next"):
                return
            body["from"] = page["next"]


def _flat(entity: Record) -> dict[str, Any]:
    """An entity's title, properties and relations by path, without those that are null."""
    values = {
        "title": entity.get("title"),
        **{f"properties.{name}": value for name, value in entity["properties"].items()},
        **{f"relations.{name}": value for name, value in entity["relations"].items()},
    }
    return {path: value for path, value in values.items() if value is not None}


# --- the plan --------------------------------------------------------------------------------------------------


def plan(catalog: Catalog, desired: Entities, cleared: Entities, existing: Entities) -> dict[str, Any]:
    """What to create, what to change in which paths, what to delete."""
    many = {
        f"relations.{name}"
        for blueprint in catalog.blueprints.values()
        for name, relation in blueprint.relations.items()
        if relation.get("many")
    }
    creates, updates = {}, {}
    for key, fields in desired.items():
        if key not in existing:
            creates["/".join(key)] = _comparable(fields, many)
            continue
        spoken = fields.keys() | cleared[key].keys()
        held = {path: value for path, value in existing[key].items() if path in spoken}
        diff = DeepDiff(_comparable(held, many), _comparable(fields, many), ignore_numeric_type_changes=True)
        if diff:
            after = {path: fields.get(path) for path in diff.affected_root_keys}
            updates["/".join(key)] = _comparable(after, many)
    deletes = sorted("/".join(key) for key in existing.keys() - desired.keys())
    return {"creates": creates, "updates": updates, "deletes": deletes}


def _comparable(fields: dict[str, Any], many: set[str]) -> dict[str, Any]:
    """The fields with relations to many in one order: they are sets, and an empty one is none."""
    found = {path: sorted(set(value or [])) if path in many else value for path, value in fields.items()}
    return {path: value for path, value in found.items() if path not in many or value}


class Phases:
    """How long each phase took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def end(self, name: str) -> None:
        """A phase ends, the next one begins."""
        now = time.perf_counter()
        self.seconds[name] = now - self._since
        self._since = now


def main(catalog_folder: Path, out: Path) -> None:
    """The whole pipeline, one phase after the other."""
    phases = Phases()
    catalog = load_catalog(catalog_folder)
    phases.end("catalog")
    pagerduty = PagerDuty(os.environ["PAGERDUTY_API_URL"], os.environ["PAGERDUTY_TOKEN"])
    records = {query: pagerduty.records(query) for query in dict.fromkeys(rule.query for rule in catalog.rules)}
    phases.end("fetch")
    desired, cleared = mapped(catalog.rules, records)
    phases.end("map")
    port = Port(*(os.environ[name] for name in ("PORT_BASE_URL", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET")))
    existing = port.entities(catalog.blueprints)
    phases.end("read Port")
    made = plan(catalog, desired, cleared, existing)
    phases.end("compare")
    out.write_text(json.dumps({"plan": made, "phases": phases.seconds}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
