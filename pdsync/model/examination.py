"""What `doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KindState:
    """Whether something can be read: a kind, or what is put into its records (`services: __oncall_user`)."""

    kind: str
    status: str
    detail: str
    scope: str


@dataclass(frozen=True, slots=True)
class Examination:
    """What `doctor` found.

    `scopes` are the least that an OAuth app needs for the catalog, `granted` those that its token has (None: not
    known), `missing` the first without the second.  `other_kinds` are not mapped.  `pagerduty_error`, `port_error`
    and `state_error` are why one of them could not be asked at all.
    """

    catalog_blueprints: int
    catalog_rules: int
    pagerduty_url: str
    credentials: str
    pagerduty_error: str
    kinds: tuple[KindState, ...]
    other_kinds: tuple[KindState, ...]
    scopes: tuple[str, ...]
    granted: tuple[str, ...] | None
    missing: tuple[str, ...]
    port_url: str
    org_id: str
    org_name: str
    blueprints: int
    port_error: str
    state: str
    state_error: str = ""

    @property
    def well(self) -> bool:
        """Whether everything that is mapped can be read, as far as that was asked, and Port and the state too."""
        fine = all(kind.status in {"readable", "not asked", "none here"} for kind in self.kinds)
        return fine and not (self.pagerduty_error or self.port_error or self.state_error or self.missing)
