"""Records of the kinds that the company of `World` does not have, drawn from the schemas of the specification.

A list with `Listed.rows` has so many records; each is drawn from the world's seed, the kind, the parents' identifiers
and its place in the list, and from nothing else, so that it is the same whenever and in whatever order it is asked
for.  Types, enums, formats and bounds are those of the schema; what a schema does not tell goes by the name of the
field (`_CHOICES`, `_MADE`).  A reference points at a record that exists, as far as its type or its name tells the
kind; when that record is deleted, the next one of its kind takes its place.

The name and identifier of a record (its `Head`) can be had without the record: references need no more.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from pdsync.sandbox import pagerduty_text as text
from pdsync.sandbox.pagerduty_company import DAY, HOUR, Dice, Ids, iso_time
from pdsync.sandbox.pagerduty_lists import BY_KIND, parents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pdsync.model import Json
    from pdsync.sandbox.pagerduty_lists import Listed
    from pdsync.sandbox.pagerduty_spec import Schema, Spec
    from pdsync.sandbox.world import World

API = "https://api.pagerduty.com"
WEB = "https://sandbox.pagerduty.com"
ACCOUNT = "PSANDBX"

TABLE_OF = {
    "users": "users",
    "teams": "teams",
    "schedules": "schedules",
    "escalation_policies": "policies",
    "services": "services",
    "business_services": "business_services",
    "priorities": "priorities",
    "vendors": "vendors",
    "extensions": "extensions",
    "extension_schemas": "extension_schemas",
}
"""Kind: the world's table of its records."""


class Head(NamedTuple):
    """What is known of a record before it is drawn: identifier, name, and where the API has it."""

    id: str
    name: str
    place: str


# Type of a reference, without its suffix, or name of a field: kind of the record it points at.
_KIND_OF: Mapping[str, str] = {
    "user": "users",
    "created_by": "users",
    "updated_by": "users",
    "creator": "users",
    "created_by_user": "users",
    "updater": "users",
    "team": "teams",
    "schedule": "schedules",
    "escalation_policy": "escalation_policies",
    "service": "services",
    "associated_service": "services",
    "technical_service": "services",
    "incident": "incidents",
    "priority": "priorities",
    "highest_impacting_priority": "priorities",
    "business_service": "business_services",
    "event_orchestration": "event_orchestrations",
    "associated_event_orchestration": "event_orchestrations",
    "orchestration": "event_orchestrations",
    "workflow": "incident_workflows",
    "incident_workflow": "incident_workflows",
    "change_event": "change_events",
    "action": "automation_actions.actions",
    "runner": "automation_actions.runners",
    "oauth_client": "webhook_subscriptions.oauth_clients",
    "schema": "enrichment.schemas",
    "integration": "integrations",
    "status_page": "status_pages",
    "status_page_service": "status_pages.services",
    "status_page_severity": "status_pages.severities",
    "status_page_status": "status_pages.statuses",
    "status_page_impact": "status_pages.impacts",
    "status_page_post": "status_pages.posts",
    "post": "status_pages.posts",
    "severity": "status_pages.severities",
    "status": "status_pages.statuses",
    "impact": "status_pages.impacts",
}
_KIND_OF_IN: Mapping[str, Mapping[str, str]] = {
    "status_pages": {"service": "status_pages.services"},
    "workflows": {"integration": "workflows.integrations"},
}
"""The same where a word means something else among the kinds of one family."""

_UNSAID = frozenset({"", "deleted_at", "password", "secret"})
"""Fields that answers of lists leave out: of what is deleted, and what is told once, on creation."""

_REFERENCE = frozenset({"id", "type", "summary", "self", "html_url"})
_NAMES = frozenset({"name", "summary", "title", "label", "display_name", "subscribable_name"})
_LATER = ("end", "until", "expires", "ends", "effective_until", "responded", "last_seen", "updated")

_CHOICES: Mapping[str, Sequence[Any]] = {
    "channel": ("email", "web"),
    "cidr": ("192.0.2.0/24", "198.51.100.0/25", "203.0.113.7/32"),
    "color": text.COLORS,
    "content": text.PARAGRAPHS,
    "description": text.PARAGRAPHS,
    "events": text.WEBHOOK_EVENTS,
    "fields": ("summary", "source", "component", "custom_details.region"),
    "icon_svg": ("<svg/>",),
    "incident_types": ("incident_default", "major_incident"),
    "message": text.PARAGRAPHS,
    "note": text.PARAGRAPHS,
    "regex": (".*", "^(.+)$"),
    "role": ("manager", "responder", "observer"),
    "scope": ("read", "read write"),
    "source": ("event.summary", "event.source", "build-server"),
    "start_time": ("09:00:00", "18:30:00"),
    "tags": text.TAGS,
    "text": ("Pull request", "Runbook", "Graph"),
    "time_zone": text.ZONES,
    "timezone": text.ZONES,
    "valid_roles": text.ROLES,
    "version": ("1.0.0", "2.3.1"),
}
"""What a string of such a name is one of."""


def number(*parts: object) -> int:
    """A number of 64 bits that is always the same for the same parts."""
    return int.from_bytes(blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest())


def singular(word: str) -> str:
    """One of what the word names: `policies` -> `policy`."""
    for many, one in (("ies", "y"), ("sses", "ss"), ("statuses", "status"), ("ss", "ss"), ("status", "status")):
        if word.endswith(many):
            return word.removesuffix(many) + one
    return word.removesuffix("s")


def _last(kind: str) -> str:
    return kind.rpartition(".")[2]


class Generic:
    """The records of a world that are drawn from schemas; made anew when the world has changed."""

    def __init__(self, world: World, spec: Spec) -> None:
        self.world = world
        self.spec = spec
        self._kept: dict[str, list[dict[str, Any]]] = {}

    # --- heads ---

    def heads(self, kind: str, outer: Sequence[str] = ()) -> list[Head]:
        """The heads of a list; `outer` are the identifiers in its path."""
        listed = BY_KIND[kind]
        fewest, most = listed.rows or (0, 0)
        roll = number(self.world.seed, kind, *outer)
        count = fewest + roll % (most - fewest + 1)
        if listed.of:
            return self._borrowed(listed.of, roll // 97, count, frozenset(outer))
        make = self._identifiers(listed, outer, roll)
        place = BY_KIND[kind].path
        for (name, _), value in zip(parents(place), outer, strict=True):
            place = place.replace(f"{{{name}}}", value)
        return [self._head(kind, place, make(n), roll + n) for n in range(count)]

    def _head(self, kind: str, place: str, identifier: str, roll: int) -> Head:
        words = singular(_last(kind)).replace("_", " ")
        name = f"{text.SUBJECTS[roll % len(text.SUBJECTS)]} {words} {roll // 31 % 90 + 10}"
        return Head(identifier, name, f"{place}/{identifier}")

    def _identifiers(self, listed: Listed, outer: Sequence[str], roll: int) -> Callable[[int], str]:
        row = self.spec.fields(self.spec.operation("get", listed.path).listing_schema)
        fixed = dict(listed.fixed)
        if listed.id in fixed:
            return lambda _: str(fixed[listed.id])
        if self.spec.component(row.get(listed.id, {})).get("format") == "uuid":
            return lambda n: str(UUID(int=number(roll, n) << 64 | number(n, roll), version=4))
        return (Ids("Q", 13, roll % 36**13) if outer else Ids("P", 6, roll % 36**6)).__getitem__

    def _borrowed(self, kind: str, roll: int, count: int, without: frozenset[str]) -> list[Head]:
        """So many different records of a kind but those `without`, from a place that the roll tells."""
        found: dict[str, Head] = {}
        for step in range(2 * count):
            head = self.pick(kind, roll + step)
            if head is not None and head.id not in without and len(found) < count:
                found[head.id] = head
        return list(found.values())

    # --- picking what references point at ---

    def pick(self, kind: str, roll: int, around: Mapping[str, str] | None = None) -> Head | None:
        """A record of a kind, told by the roll; None if there is none.

        `around` are identifiers by kind: a record of such a kind is that one, nested records are below it.
        """
        around = around or {}
        if kind in TABLE_OF:
            return self._from_table(kind, roll, around.get(kind))
        if kind == "incidents":
            return self._incident(roll, around.get(kind))
        if kind == "integrations":
            return self._integration(roll, around.get("services"))
        outer = [around.get(parent) for _, parent in parents(BY_KIND[kind].path)]
        known = [one for one in outer if one is not None]
        heads = self.heads(kind, known) if len(known) == len(outer) else []
        wanted = [head for head in heads if head.id == around.get(kind)] or heads
        return wanted[roll % len(wanted)] if wanted else None

    def _from_table(self, kind: str, roll: int, wanted: str | None) -> Head | None:
        world, table = self.world, TABLE_OF[kind]
        live = getattr(world, table)
        ids = world.founders[table]
        turns = (ids[(roll + n) % len(ids)] for n in range(len(ids)))
        found = wanted if wanted in live else next((one for one in turns if one in live), None)
        return None if found is None else Head(found, live[found].name, f"/{kind}/{found}")

    def _incident(self, roll: int, wanted: str | None) -> Head | None:
        table = self.world.incidents
        position = None if wanted is None else table.position(wanted)
        count = self.world.founding_incidents
        turns = ((roll + n) % count for n in range(min(count, 1_000)))
        found = next((n for n in turns if not table.hidden[n]), None) if position is None else position
        if found is None:
            return None
        return Head(table.ids[found], table.record(found).title, f"/incidents/{table.ids[found]}")

    def _integration(self, roll: int, service_id: str | None) -> Head | None:
        """An integration of a service: of that one, else of the first that has any, from the place the roll tells."""
        services = self.world.services
        turns = (self.pick("services", roll + n) for n in range(len(services)))
        wanted = (service_id,) if service_id in services else (head.id for head in turns if head is not None)
        owner = next((services[one] for one in wanted if one and services[one].integrations), None)
        if owner is None:
            return None
        found = owner.integrations[roll % len(owner.integrations)]
        return Head(found.id, found.name, f"/services/{owner.id}/integrations/{found.id}")

    # --- rows ---

    def rows(self, kind: str, outer: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The records of a list; those without a parent are kept."""
        found = self._kept.get(kind) if not outer else None
        if found is None:
            found = [self._row(BY_KIND[kind], outer, head, n) for n, head in enumerate(self.heads(kind, outer))]
            if not outer:
                self._kept[kind] = found
        return found

    def _row(self, listed: Listed, outer: Sequence[str], head: Head, n: int) -> dict[str, Any]:
        around = {kind: value for (_, kind), value in zip(parents(listed.path), outer, strict=True)}
        roll = number(self.world.seed, listed.kind, *outer, n, "row")
        drawing = Drawing(self, listed, around, head, roll)
        found: dict[str, Any] = drawing.value(self.spec.operation("get", listed.path).listing_schema, "")
        whole = self.rows(listed.of) if listed.of in BY_KIND and BY_KIND[listed.of].rows else []
        return found | next((row for row in whole if row["id"] == head.id), {})

    def beside(self, kind: str, schema: Schema, name: str) -> Json:
        """A field that stands beside the rows of a list."""
        head = Head(f"P{kind}", name, f"/{name}")
        return Drawing(self, BY_KIND[kind], {}, head, number(self.world.seed, kind, name)).value(schema, name)


class Drawing:
    """One record while it is drawn."""

    def __init__(self, generic: Generic, listed: Listed, around: Mapping[str, str], head: Head, roll: int) -> None:
        self.generic = generic
        self.spec = generic.spec
        self.listed = listed
        self.around = around if listed.of else {**around, listed.kind: head.id}
        self.head = head
        self.dice = Dice(roll, 0)
        self.kinds = {**_KIND_OF, **_KIND_OF_IN.get(listed.kind.partition(".")[0], {})}
        self.created = generic.world.founded - self.dice.below(300 * DAY) - 2 * HOUR
        level = listed.id.rpartition(".")[0]
        names = {at: head.name for name in _NAMES for at in (name, f"{level}.{name}")}
        fixed = {at: around.get(str(value)[1:-1], value) for at, value in listed.fixed}
        self.known: Mapping[str, Json] = {**names, "url_slug": head.id.lower(), listed.id: head.id, **fixed}

    def value(self, schema: Schema, path: str) -> Any:
        """A value that fits a schema; `path` is where it stands in the record."""
        schema = self.merged(schema)
        wanted = schema.get("type", "object" if "properties" in schema else "string")
        if path in self.known and wanted == "string":
            return str(self.known[path])[: schema.get("maxLength")]
        if schema.get("nullable") and self.dice.chance(20):
            return None
        choices = [choice for choice in schema.get("enum", ()) if choice is not None]
        if choices:
            return self.dice.pick(choices)
        made: Mapping[str, Callable[[Schema, str], Any]] = {
            "object": self._object,
            "array": self._array,
            "boolean": lambda _, __: self.dice.chance(50),
            "integer": lambda given, _: self._integer(given),
            "number": lambda given, _: float(self._integer(given)),
            "string": self._string,
        }
        return made[wanted](schema, path)

    def merged(self, schema: Schema) -> dict[str, Any]:
        """A schema with its parts and one of its alternatives put into one; its properties stay as they are."""
        schema = self.spec.component(schema)
        options = schema.get("anyOf") or schema.get("oneOf") or ()
        parts = [
            self.merged(part) for part in (*schema.get("allOf", ()), *([self._chosen(options)] if options else ()))
        ]
        found: dict[str, Any] = {"properties": {}, "required": []}
        for part in [*parts, schema]:
            for name, value in part.get("properties", {}).items():
                found["properties"][name] = {**self.spec.component(found["properties"].get(name, {})), **value}
            found["required"] += part.get("required", ())
            found |= {k: v for k, v in part.items() if k not in {"properties", "required", "allOf", "anyOf", "oneOf"}}
        found["nullable"] = schema.get("nullable", False) and all(part["nullable"] for part in parts)
        return found if found["properties"] else {k: v for k, v in found.items() if k != "properties"}

    def _chosen(self, options: Sequence[Schema]) -> Schema:
        """One of the alternatives: a reference rather than the object in its place, else any that is not null."""
        plain = [option for option in options if option.get("$ref", "").endswith(".plain")]
        return plain[0] if plain else self.dice.pick([o for o in options if o.get("enum") != [None]])

    # --- objects and lists ---

    def _object(self, schema: Schema, path: str) -> dict[str, Any]:
        fields = schema.get("properties", {})
        if not fields:
            form = schema.get("additionalProperties")
            count = self.value(form, "count") if isinstance(form, dict) else self.dice.below(100)
            return {"region": self.dice.pick(("eu", "us")), "count": count}
        found = self._reference(fields, path) if "id" in fields else None
        dot = f"{path}." if path else ""
        left = [name for name in fields if name not in (found or {}) and name not in _UNSAID]
        if found is not None and fields.keys() <= _REFERENCE:
            left = []
        made = {name: self.value(fields[name], dot + name) for name in left}
        missing = [name for name in schema["required"] if name not in fields]
        return (found or {}) | made | {name: self._string({}, dot + name) for name in missing}

    def _reference(self, fields: Mapping[str, Schema], path: str) -> dict[str, Any] | None:
        """What refers to a record that exists; None where nothing tells the kind.

        The account is a whole reference, or, where only identifier and type are known, its type alone.
        """
        types = [t for t in self.merged(fields.get("type", {})).get("enum", ()) if t]
        known = [t for t in types if t.removesuffix("_reference") in self.kinds] or types
        type_ = self.dice.pick(known) if known else ""
        if type_ == "account_reference":
            short = fields.keys() == {"id", "type"}
            return {"type": type_} if short else self._refer(Head(ACCOUNT, "Sandbox", ""), type_, fields)
        kind = self.kinds.get(type_.removesuffix("_reference")) or self.kinds.get(singular(path.rpartition(".")[2]))
        if path == "":
            return self._refer(self.head, type_, fields) if fields.keys() <= _REFERENCE else None
        own = self.head if f"{path}.id" == self.listed.id else None
        head = own or (self.generic.pick(kind, self.dice.below(2**30), self.around) if kind else None)
        return None if head is None or kind is None else self._refer(head, type_ or singular(_last(kind)), fields)

    def _refer(self, head: Head, type_: str, fields: Mapping[str, Schema]) -> dict[str, Any]:
        names = {"name": head.name, "summary": head.name, "self": API + head.place, "html_url": WEB + head.place}
        type_ = type_ or singular(_last(self.listed.of or self.listed.kind))
        whole = {"id": head.id, "type": type_, **names}
        return {name: value for name, value in whole.items() if name in fields}

    def _array(self, schema: Schema, path: str) -> list[Any]:
        fewest = schema.get("minItems", 0)
        count = min(fewest + self.dice.below(3), schema.get("maxItems", 9))
        found: list[Any] = []
        for _ in range(count):
            value = self.value(schema["items"], path)
            if value not in found:
                found.append(value)
        return found

    # --- plain values ---

    def _integer(self, schema: Schema) -> int:
        low = schema.get("minimum", 0)
        return int(low + self.dice.below(int(min(schema.get("maximum", 99), low + 99)) - int(low) + 1))

    def _string(self, schema: Schema, path: str) -> str:
        name = path.rpartition(".")[2]
        form = schema.get("format", "")
        found = self._by_form(form, path) or self._by_name(name)
        return found[: schema.get("maxLength")]

    def _by_form(self, form: str, path: str) -> str:
        level, _, name = path.rpartition(".")
        if form == "date-time" or name.endswith("_at") or name == "timestamp":
            late = self.dice.below(20 * HOUR) + 1 if name.startswith(_LATER) else 0
            return iso_time(self.created + late)
        if form == "uuid":
            return str(UUID(int=self.dice.below(2**53) << 64 | self.dice.below(2**53), version=4))
        if name in {"self", "html_url"}:
            return {"self": API, "html_url": WEB}[name] + self.head.place + (level and "/" + level.replace(".", "/"))
        if form in {"url", "uri"} or name.endswith(("_url", "_uri", "href", "src")):
            return f"https://example.com/{name}/{self.dice.hexadecimal(6)}"
        if form == "email" or name in {"address", "contact", "from", "to"}:
            return f"{self.dice.hexadecimal(6)}@example.com"
        return ""

    def _by_name(self, name: str) -> str:
        if name in _CHOICES:
            return str(self.dice.pick(_CHOICES[name]))
        if name in _NAMES:
            return f"{self.dice.pick(text.SUBJECTS)} {self.dice.pick(text.PARTS)}"
        if name.endswith(("_key", "_keys")):
            return self.dice.hexadecimal(32)
        if name == "type":
            return singular(_last(self.listed.kind))
        return self._identifier(name) if name.endswith("id") or name == "runner" else self._word()

    def _identifier(self, name: str) -> str:
        """The identifier of a record that exists, if the name tells its kind."""
        kind = self.kinds.get(name.removesuffix("_id"))
        head = self.generic.pick(kind, self.dice.below(2**30), self.around) if kind else None
        return head.id if head else "P" + self.dice.hexadecimal(8).upper()

    def _word(self) -> str:
        return f"{self.dice.pick(text.TAGS)}-{self.dice.hexadecimal(4)}"
