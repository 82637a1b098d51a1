"""What `doctor` found, as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from pdsync.render.escape import visible
from pdsync.render.paint import Paint
from pdsync.render.state_text import table

if TYPE_CHECKING:
    from pdsync.model import Examination

_COLORS = {"readable": "green", "forbidden": "red", "unavailable": "yellow", "failed": "red"}


def render_examination(found: Examination, form: str, *, color: bool = False) -> str:
    """Both ends, each mapped kind with what the credentials may read of it, and the least scopes."""
    if form == "json":
        plain: Any = msgspec.to_builtins(found)
        return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    paint = Paint(color)
    rows = [("kind", "PagerDuty says", "scope", "")]
    rows += [(visible(p.kind), p.status, p.scope, visible(p.detail)) for p in found.kinds]
    lines = table(rows).splitlines()
    kinds = [lines[0], *(_painted(line, p.status, paint) for line, p in zip(lines[1:], found.kinds, strict=True))]
    port = found.port_error or f"organisation {found.org_name} {found.org_id}, {found.blueprints} blueprints"
    return "\n".join(
        [
            f"catalog    {found.catalog_blueprints} blueprints, {found.catalog_rules} mappings, valid",
            f"port       {visible(found.port_url)}  {visible(port)}",
            f"pagerduty  {visible(found.pagerduty_url)}",
            *(f"           {line}" for line in kinds),
            f"state      {visible(found.state)}",
            f"Least scopes for this catalog: {' '.join(found.scopes)}",
            paint("bold", "All is well." if found.well else "Not all is well: see above."),
            "",
        ]
    )


def _painted(line: str, status: str, paint: Paint) -> str:
    return line.replace(status, paint(_COLORS.get(status, "bold"), status), 1)
