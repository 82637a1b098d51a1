"""A plan that found nothing to do, remembered as a whole: equal inputs give equal plans.

A digest of all that decides about entities (records, ledger, what Port holds, catalog, pdsync itself) says next time
that there is still nothing to do.  All that a plan says besides is found out anew each time, as if there were no
entities (`idle`); and only a plan that says nothing else than that one, but how many there are, is remembered.  What
depends on the time of day, or on what is asked of Port besides, is not remembered at all.

    {"foreign":0,"format":"pdsync-rest","key":"...","unchanged":5714,"version":1}

It is a cache: a file that is damaged or of another version is none.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import orjson

from pdsync.model import DesiredEntities, Expression
from pdsync.plan.decide import constant_blueprint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pdsync.model import MappingRule, Plan
    from pdsync.plan.decide import Facts

FORMAT = "pdsync-rest"
VERSION = 1


class Rest(NamedTuple):
    """What a plan that found nothing to do was made from, and how many entities it found unchanged, and foreign."""

    key: str
    unchanged: int
    foreign: int

    def of(self, idle_plan: Plan) -> Plan:
        """The same plan again."""
        summary = replace(idle_plan.summary, unchanged=self.unchanged, foreign=self.foreign)
        return replace(idle_plan, summary=summary)


def rest_of(key: str, plan: Plan, idle_plan: Plan) -> Rest | None:
    """What is to be remembered of a plan; None where it says anything else than an idle one."""
    found = Rest(key, plan.summary.unchanged, plan.summary.foreign)
    return found if found.of(idle_plan) == plan else None


def idle(facts: Facts) -> Facts:
    """The facts without any entities."""
    return replace(
        facts,
        desired=DesiredEntities({}),
        existing=replace(facts.existing, entities={}),
        ledger=replace(facts.ledger, entities={}),
    )


def rest_key(facts: Facts, snapshot: str, edition: str) -> str:
    """A digest of all that decides about entities; empty where more decides than is known before mapping.

    `facts` are those that are read, of which nobody has asked for any fields yet; `snapshot` is the digest of the
    snapshot, `edition` says which pdsync this is.
    """
    existing, ledger, catalog = facts.existing, facts.ledger, facts.catalog
    packed = [entity.packed for entity in existing.entities.values()]
    exact = snapshot and ledger.checksum and all(map(_is_plain, catalog.rules)) and None not in packed
    if not exact or facts.unproven or facts.lacking or facts.moved_rules:
        return ""
    blueprints = {name: blueprint.definition for name, blueprint in existing.blueprints.items()}
    own = {name: blueprint.definition for name, blueprint in catalog.blueprints.items()}
    told = [FORMAT, VERSION, edition, facts.tool, existing.org_id, repr(catalog.project), repr(catalog.rules)]
    whole = hashlib.sha256(
        orjson.dumps([*told, blueprints, own, snapshot, ledger.checksum], option=orjson.OPT_SORT_KEYS)
    )
    whole.update(b"\0".join(each[1] for each in packed if each))
    return whole.hexdigest()


def _is_plain(rule: MappingRule) -> bool:
    """Whether what a rule makes of a record is told by the record alone, and of which blueprint it is by the rule."""
    values: Iterator[object] = iter((rule.identifier, *rule.fields.values()))
    return constant_blueprint(rule) is not None and all(isinstance(value, Expression) for value in values)


def dump_rest(rest: Rest) -> bytes:
    """What is remembered, as a file."""
    told = {"format": FORMAT, "version": VERSION, **rest._asdict()}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def parse_rest(data: bytes) -> Rest | None:
    """What a file remembers; None when it is not a whole one of this version."""
    try:
        told = orjson.loads(data)
        if (told["format"], told["version"]) != (FORMAT, VERSION):
            return None
        return Rest(str(told["key"]), int(told["unchanged"]), int(told["foreign"]))
    except (ValueError, TypeError, LookupError):
        return None
