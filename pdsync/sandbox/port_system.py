"""What is in every organisation from the first day: the blueprints `_user` and `_team`, a few people and teams."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pdsync.model import Json

DEFINITIONS: Sequence[Mapping[str, Json]] = (
    {
        "identifier": "_team",
        "title": "Team",
        "icon": "Team",
        "schema": {"properties": {"description": {"title": "Description", "type": "string"}}, "required": []},
        "relations": {},
    },
    {
        "identifier": "_user",
        "title": "User",
        "icon": "User",
        "schema": {
            "properties": {
                "status": {
                    "title": "Status",
                    "type": "string",
                    "enum": ["Staged", "Invited", "Active", "Disabled"],
                    "default": "Staged",
                },
                "port_role": {"title": "Port role", "type": "string", "default": "Member"},
                "port_type": {
                    "title": "Port type",
                    "type": "string",
                    "enum": ["Standard", "Service Account"],
                    "default": "Standard",
                },
            },
            "required": [],
        },
        "relations": {"teams": {"title": "Teams", "target": "_team", "many": True, "required": False}},
    },
)
"""In an order in which relation targets come first."""

TEAMS: Sequence[Mapping[str, Json]] = (
    {"identifier": "platform", "title": "Platform"},
    {"identifier": "payments", "title": "Payments"},
)

USERS: Sequence[Mapping[str, Json]] = (
    {
        "identifier": "admin@sandbox.example",
        "title": "Ada Admin",
        "properties": {"status": "Active", "port_role": "Admin", "port_type": "Standard"},
        "relations": {"teams": ["platform"]},
    },
    {
        "identifier": "member@sandbox.example",
        "title": "Mo Member",
        "properties": {"status": "Active", "port_role": "Member", "port_type": "Standard"},
        "relations": {"teams": ["platform", "payments"]},
    },
)

PERSON = "admin@sandbox.example"
"""Who edits by hand."""
