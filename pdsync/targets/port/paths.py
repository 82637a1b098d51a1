"""Port's routes, with identifiers encoded: slash, colon, plus, equals, at and backslash all occur in them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

AUTHENTICATION: Final = "/v1/auth/access_token"
ORGANIZATION: Final = "/v1/organization"
BLUEPRINTS: Final = "/v1/blueprints"
SEARCH: Final = "/v1/entities/search"
"""The search over all blueprints, which does not page: a POST that reads."""


def blueprint_path(blueprint: str) -> str:
    """One blueprint."""
    return f"{BLUEPRINTS}/{quote(blueprint, safe='')}"


def rename_path(blueprint: str, part: str, name: str) -> str:
    """The rename of one of a blueprint's `properties` or `relations`."""
    return f"{blueprint_path(blueprint)}/{part}/{quote(name, safe='')}/rename"


def entity_path(blueprint: str, identifier: str) -> str:
    """One entity."""
    return f"{blueprint_path(blueprint)}/entities/{quote(identifier, safe='')}"


def search_path(blueprint: str) -> str:
    """The paged search over one blueprint's entities: a POST that reads."""
    return f"{blueprint_path(blueprint)}/entities/search"


def scorecards_path(blueprint: str) -> str:
    """The scorecards of one blueprint."""
    return f"{blueprint_path(blueprint)}/scorecards"


def count_path(blueprint: str) -> str:
    """The number of a blueprint's entities."""
    return f"{blueprint_path(blueprint)}/entities-count"


def bulk_upsert_path(blueprint: str) -> str:
    """Create or merge up to 20 entities."""
    return f"{blueprint_path(blueprint)}/entities/bulk"


def bulk_delete_path(blueprint: str) -> str:
    """Delete up to 100 entities."""
    return f"{blueprint_path(blueprint)}/bulk/entities/delete"
