"""What users write, as pydantic models: one per file kind, no key beyond those that are named.

The models hold shapes; what two places say about each other is checked in `blueprints` and `mappings`.  Values
that are jq, and selectors, are `Any` here, because their checks say more than a schema can.

Sources: Port API reference (Blueprints, Webhooks), Port's PagerDuty integration (mapping file).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, WithJsonSchema
from pydantic.alias_generators import to_camel

Colour = Literal[
    "blue", "turquoise", "orange", "purple", "pink", "yellow", "green", "red", "gold", "silver",
    "paleBlue", "darkGray", "lightGray", "bronze", "lime", "olive", "brown",
]  # fmt: skip
PropertyType = Literal["string", "number", "boolean", "object", "array"]
Format = Literal[
    "date-time", "url", "email", "idn-email", "ipv4", "ipv6", "markdown", "yaml", "user", "blueprints", "team",
    "timer", "proto", "labeled-url",
]  # fmt: skip
CalculationFormat = Literal[
    "date-time", "url", "email", "idn-email", "ipv4", "ipv6", "markdown", "yaml", "user", "team", "proto",
    "labeled-url",
]  # fmt: skip
Spec = Literal["open-api", "embedded-url", "async-api"]
DateFormat = Literal["relative", "12-hour", "24-hour", "iso"]
Title = Annotated[str, Field(max_length=100)]
Switch = Annotated[bool, Strict(strict=False)]
"""A bool that may be quoted: Port's integration takes `"true"` too."""

_NAMES = {"propertyNames": {"pattern": r"^[A-Za-z0-9@_=\\-]+$", "maxLength": 100}}
_JQ = {"type": "string", "minLength": 1, "description": "jq over the PagerDuty record; a constant needs inner quotes"}
_SEARCH = {
    "type": "object",
    "description": "a Port search; every text in it is jq",
    "required": ["combinator", "rules"],
    "properties": {"combinator": {"type": "string"}, "rules": {"type": "array", "minItems": 1}},
}
Jq = Annotated[Any, WithJsonSchema(_JQ)]
JqOrSearch = Annotated[Any, WithJsonSchema({"anyOf": [_JQ, _SEARCH]})]
JqMap = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": _JQ})]
RelationMap = Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": [_JQ, _SEARCH]}})]


class _Written(BaseModel):
    """Strict: a value is of its type or wrong, and a key is known or wrong."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel, defer_build=True)


class _Snake(BaseModel):
    """The project file is ours: its keys are written as they are named here."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


# --- pdsync.yaml -----------------------------------------------------------------------------------------------


class PortPart(_Snake):
    """Where Port is."""

    base_url: str | None = None


_AGE = {"pattern": r"^\d{1,5} ?(h|d|w|mo|y)$", "description": "an age of a day or more, such as 90d, 12w, 6mo or 1y"}


_WAIT = {"pattern": r"^\d{1,5} ?(h|d|w|mo|y)$", "description": "a stretch of time, such as 2h or 1d; 0h is none"}


class PagerDutyPart(_Snake):
    """Where PagerDuty is, and what of it need not be read every time."""

    api_url: str | None = None
    settled_after: Annotated[str | None, Field(json_schema_extra=_AGE)] = None
    full_every: Annotated[int, Field(ge=1)] | None = None


class StatePart(_Snake):
    """Where the state is kept."""

    url: str | None = None
    snapshot: Literal["cache", "remote"] | None = None


class DeleteLimitPart(_Snake):
    """Deletes above both numbers are withheld, and so are those that leave nothing."""

    count: Annotated[int, Field(ge=0)] | None = None
    percent: Annotated[float, Field(ge=0, le=100)] | None = None
    empty: Literal["withhold", "allow"] | None = None


class PolicyPart(_Snake):
    """What a plan may do."""

    deletes: dict[str, DeleteLimitPart] | None = None
    adopt: Literal["allow", "refuse"] | None = None
    on_remove: Literal["release", "delete"] | None = None
    protect: list[str] | None = None
    invalid: Literal["hold", "drop-field"] | None = None
    renames: dict[str, dict[str, str]] | None = None
    system_blueprints: list[Literal["_user", "_team"]] | None = None
    believe_shrink_after: Annotated[str | None, Field(json_schema_extra=_WAIT)] = None


class EnvironmentPart(_Snake):
    """What an environment says differently."""

    port: PortPart | None = None
    pagerduty: PagerDutyPart | None = None
    state: StatePart | None = None
    policy: PolicyPart | None = None


class ProjectFile(EnvironmentPart):
    """catalog/pdsync.yaml."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    environments: dict[str, EnvironmentPart] | None = None


# --- blueprints/ -----------------------------------------------------------------------------------------------


class Keywords(_Written):
    """Keywords of a property, and of the items of an array."""

    type: PropertyType
    format: Format | None = None
    spec: Spec | None = None
    enum: Annotated[list[Any], Field(min_length=1)] | None = None
    enum_colors: dict[str, Colour] | None = None
    min_length: Annotated[int, Field(ge=0)] | None = None
    max_length: Annotated[int, Field(ge=0)] | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    properties: dict[str, Any] | None = None
    pattern_properties: dict[str, Any] | None = None
    additional_properties: Any = None
    required: list[str] | None = None


class ItemsPart(Keywords):
    """The items of an array."""

    type: PropertyType | None = None  # type: ignore[assignment]
    title: Title | None = None
    default: Any = None


class SpecAuthentication(_Written):
    """How an embedded page logs in."""

    client_id: str
    authorization_url: str
    token_url: str
    authorization_scope: list[str] | None = None


class PropertyPart(Keywords):
    """A property of a blueprint."""

    title: Title | None = None
    description: str | None = None
    icon: str | None = None
    default: Any = None
    items: ItemsPart | None = None
    min_items: Annotated[int, Field(ge=0)] | None = None
    max_items: Annotated[int, Field(ge=0)] | None = None
    unique_items: bool | None = None
    date_format: DateFormat | None = None
    spec_authentication: SpecAuthentication | None = None


class SchemaPart(_Written):
    """A blueprint's own properties."""

    properties: Annotated[dict[str, PropertyPart], Field(json_schema_extra=_NAMES)]
    required: list[str] | None = None


class RelationPart(_Written):
    """A relation to another blueprint."""

    target: str
    required: bool | None = None
    many: bool | None = None
    title: Title | None = None
    description: str | None = None
    type: str | None = None


class MirrorPart(_Written):
    """A property of a related entity."""

    path: str
    title: Title | None = None


class CalculationItems(_Written):
    """The items of a calculated array."""

    type: PropertyType | None = None
    format: CalculationFormat | None = None


class CalculationPart(_Written):
    """A property computed by jq over the entity."""

    calculation: str
    type: PropertyType
    title: Title | None = None
    description: str | None = None
    icon: str | None = None
    format: CalculationFormat | None = None
    spec: Spec | None = None
    spec_authentication: SpecAuthentication | None = None
    colorized: bool | None = None
    colors: dict[str, Colour] | None = None
    items: CalculationItems | None = None
    date_format: DateFormat | None = None


class CalculationSpec(_Written):
    """What an aggregation computes."""

    calculation_by: Literal["entities", "property"]
    func: Literal["count", "average", "sum", "min", "max", "median"]
    property: str | None = None
    average_of: Literal["hour", "day", "week", "month", "total"] | None = None
    measure_time_by: str | None = None


class PathFilter(_Written):
    """Along which relations entities are aggregated."""

    path: list[str]
    from_blueprint: str | None = None


class AggregationPart(_Written):
    """A number computed over related entities."""

    title: Title
    target: str
    calculation_spec: CalculationSpec
    query: dict[str, Any] | None = None
    path_filter: Annotated[list[PathFilter], Field(max_length=1)] | None = None
    description: str | None = None
    icon: str | None = None
    type: Literal["number"] | None = None


class OwnershipPart(_Written):
    """Whose an entity is: its own team, or that at the end of a path."""

    type: Literal["Direct", "Inherited"]
    path: str | None = None
    title: Title | None = None


class ChangelogDestination(_Written):
    """Where Port reports changes."""

    type: Literal["WEBHOOK", "KAFKA"]
    url: str | None = None
    agent: bool | None = None


class BlueprintFile(_Written):
    """One document in catalog/blueprints/: Port's own blueprint JSON."""

    identifier: str
    title: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=200)] | None = None
    icon: str | None = None
    schema_: Annotated[SchemaPart, Field(alias="schema")]
    relations: Annotated[dict[str, RelationPart] | None, Field(json_schema_extra=_NAMES)] = None
    mirror_properties: Annotated[dict[str, MirrorPart] | None, Field(json_schema_extra=_NAMES)] = None
    calculation_properties: Annotated[dict[str, CalculationPart] | None, Field(json_schema_extra=_NAMES)] = None
    aggregation_properties: Annotated[dict[str, AggregationPart] | None, Field(json_schema_extra=_NAMES)] = None
    ownership: OwnershipPart | None = None
    changelog_destination: ChangelogDestination | None = None
    include_in_global_search: bool | None = None


# --- mappings/ -------------------------------------------------------------------------------------------------


class SelectorPart(BaseModel):
    """Which records count; the other keys depend on the kind and are read by `pdsync.kinds`."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    query: Jq


class EntityMappings(_Written):
    """The jq of each part of an entity."""

    identifier: JqOrSearch
    blueprint: Jq
    title: Jq = None
    icon: Jq = None
    team: JqOrSearch = None
    properties: JqMap = None
    relations: RelationMap = None


class EntityPart(_Written):
    """What the records become."""

    mappings: EntityMappings


class ResourcePortPart(_Written):
    """How a record becomes entities."""

    entity: EntityPart
    items_to_parse: Jq = None
    items_to_parse_name: str | None = None
    items_to_parse_top_level_transform: Switch | None = None


class LifecyclePart(_Snake):
    """What becomes of the entities of a resource.  Ours: Port's own mapping format has no such key."""

    on_remove: Literal["delete", "release", "forget"] | None = None
    ignore_changes: list[str] | None = None
    retention: str | None = None


class ResourcePart(_Written):
    """One resource of a mapping."""

    kind: str
    selector: SelectorPart
    port: ResourcePortPart
    lifecycle: LifecyclePart | None = None


class MappingFile(_Written):
    """A file in catalog/mappings/: Port's own mapping."""

    create_missing_related_entities: Switch = True
    delete_dependent_entities: Switch = False
    enable_merge_entity: Switch = True
    entity_deletion_threshold: Annotated[float, Field(ge=0, le=1)] = 0.9
    resources: list[ResourcePart]


# --- webhooks/ -------------------------------------------------------------------------------------------------


class WebhookSecurity(_Written):
    """How Port checks who sends."""

    secret: str | None = None
    signature_header_name: str | None = None
    signature_algorithm: Literal["sha1", "sha256", "plain"] | None = None
    signature_prefix: str | None = None
    request_identifier_path: str | None = None


class WebhookEntity(_Written):
    """The jq of each part of an entity, over body, headers and queryParams."""

    identifier: JqOrSearch
    title: Jq = None
    icon: Jq = None
    team: JqOrSearch = None
    properties: JqMap = None
    relations: RelationMap = None


class WebhookMapping(_Written):
    """One mapping of a webhook."""

    blueprint: str
    operation: Annotated[Any, WithJsonSchema({"anyOf": [{"enum": ["create", "delete"]}, {"type": "object"}]})] = None
    filter: Jq = None
    items_to_parse: Jq = None
    entity: WebhookEntity


class SubscriptionFilter(_Snake):
    """Whose events PagerDuty sends."""

    type: Literal["account_reference", "service_reference", "team_reference"]
    id: str | None = None


class SubscriptionPart(_Snake):
    """The PagerDuty webhook subscription that feeds the webhook."""

    description: str | None = None
    events: Annotated[list[str], Field(min_length=1)]
    filter: SubscriptionFilter


class WebhookFile(_Written):
    """One document in catalog/webhooks/: Port's custom webhook and the PagerDuty subscription that feeds it."""

    identifier: Annotated[str, Field(max_length=30)]
    title: Annotated[str, Field(max_length=30)]
    enabled: bool
    description: Annotated[str, Field(max_length=200)] | None = None
    icon: str | None = None
    integration_type: Literal["custom", "template"] | None = None
    security: WebhookSecurity | None = None
    mappings: list[WebhookMapping] | None = None
    pagerduty: SubscriptionPart | None = None


# --- tests/ ----------------------------------------------------------------------------------------------------


class ExpectedEntity(_Snake):
    """An entity that must come out; only the paths that are given are compared."""

    identifier: str
    blueprint: str
    title: str | None = None
    icon: str | None = None
    team: Any = None
    properties: dict[str, Any] | None = None
    relations: dict[str, Any] | None = None


class TestFile(_Snake):
    """One document in catalog/tests/: records of a kind, enrichments included, and the entities they become."""

    __test__ = False

    name: Annotated[str, Field(min_length=1)]
    kind: str
    records: Annotated[list[dict[str, Any]], Field(min_length=1)]
    entities: list[ExpectedEntity]


FILES: dict[str, type[BaseModel]] = {
    "project": ProjectFile,
    "blueprint": BlueprintFile,
    "mapping": MappingFile,
    "webhook": WebhookFile,
    "test": TestFile,
}
"""The model of each file kind."""
