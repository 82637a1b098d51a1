"""Plan cases: a YAML file says the three sides shortly, the text file beside it what is printed.

    says            what the case shows
    blueprints      identifier -> {relations?, properties?: {name: definition}, without?, required?: [name],
                    mirrors?: {name: path}}  (the catalog's)
    in_port         blueprints that Port has, if others than the catalog's
    owned           blueprints that the ledger has, if others than the catalog's
    adopted         blueprint of these that was there before us -> the paths of what we added to it
    rules           blueprint -> mapped paths, or path -> expression; `blueprint of kinds` is a second rule for another kind
    lifecycle       blueprint -> on_remove, ignore_changes, retention (in days) of its rule
    desired         key -> values as `tests.builders.want` takes them
    existing        key -> values as `have` takes them
    ledger          key -> values as `entry` takes them; `added` are the paths that had nothing before us
    expressions     whether the last apply knew the expressions of the rules (default), or these rules only
    policy, scope   arguments of `Policy` and `Scope`
    unproven        blueprint -> why its listing is not whole
    lacking         what could not be read of PagerDuty: arguments of `Unavailable`
    held, failed    as in `DesiredEntities`
    not_read        source records that were taken over from an earlier snapshot
    missing         source records that are not listed any more and may be there
    tool            the version that the last apply ran under
    by_integration  keys that Port's own integration wrote
    teams           key -> teams that own it
    dependents      key -> values as `have` takes them, of entities that are not read with the rest
    scorecards      blueprint -> identifier -> what it reads
    unknown         what Port did not tell
    account         the PagerDuty account that records are of; made_from: that which the ledger knows
    base            what of all this is otherwise for the base that the plan is set beside, which is called `main`
    print           arguments of `render_plan`

In `desired` and `ledger` a key may have a list: what each of several records gives, with its `source`.

A key with a range, `service/s{1..50}`, stands for all of it; `{n}` in its values is the number.  `{repeat: [x, 9]}` is
that text so many times.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from pdsync.commands import expressions
from pdsync.jq.joining import Claims, problems_of
from pdsync.model import Blueprint, DeleteLimit, Expression, Lifecycle, Portion, Scorecard, Surroundings, Unavailable
from pdsync.plan import Facts
from pdsync.plan.branch import with_branch
from tests.builders import BASE, HERE, blueprint, catalog, desired, entry, existing, have, key, ledger, plan, rule, want

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pdsync.model import DesiredEntities, DesiredEntity, Ledger, LedgerEntry, MappingRule, Plan

FOLDER = Path(__file__).parent.parent / "cases" / "plan"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def case_files() -> list[Path]:
    return sorted(FOLDER.glob("*.yaml"))


def load(path: Path) -> dict[str, Any]:
    """A case, with ranges and repetitions written out."""
    case: dict[str, Any] = _repeated(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    for side in ("desired", "existing", "ledger"):
        case[side] = dict(_ranged(case.get(side) or {}))
    return case


def _repeated(value: Any) -> Any:
    if isinstance(value, dict):
        if list(value) == ["repeat"]:
            text, times = value["repeat"]
            return text * times
        return {name: _repeated(inner) for name, inner in value.items()}
    return [_repeated(inner) for inner in value] if isinstance(value, list) else value


def _ranged(side: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, values in side.items():
        found = _RANGE.search(name)
        if found is None:
            yield name, values
            continue
        for n in range(int(found[1]), int(found[2]) + 1):
            yield f"{name[: found.start()]}{n:03}{name[found.end() :]}", _numbered(values or {}, str(n))


def _numbered(value: Any, n: str) -> Any:
    if isinstance(value, list):
        return [_numbered(each, n) for each in value]
    return {k: v.replace("{n}", n) if isinstance(v, str) else v for k, v in value.items()}


def plan_of(case: Mapping[str, Any]) -> Plan:
    """The plan of a case, set beside that of its base if it has one."""
    plan = _plan_of(case)
    if "base" not in case:
        return plan
    base = {**case, **(case["base"] or {})}
    base["desired"] = {k: v for k, v in {**case["desired"], **base["desired"]}.items() if v != "absent"}
    return with_branch(plan, _plan_of(base), "main", "c0ffee" * 6)


def _plan_of(case: Mapping[str, Any]) -> Plan:
    rules = [_rule(case, name, paths) for name, paths in (case.get("rules") or {}).items()]
    blueprints = _blueprints(case["blueprints"])
    known = expressions(
        [r for r in rules if case.get("expressions", True) in (True, r.kind) or r.kind in _listed(case)]
    )
    owned = ledger(
        {k: _entry(v, k) for k, v in case["ledger"].items()},
        _blueprints(case.get("owned", case["blueprints"])),
        expressions=known,
        tool=case.get("tool", "jq"),
        account=case.get("made_from", ""),
    )
    owned = replace(owned, blueprints={**owned.blueprints, **_adopted(case, owned)})
    facts = Facts(
        catalog(blueprints, rules, **_policy(case.get("policy") or {})),
        _desired(case, rules),
        existing(
            _blueprints(case.get("in_port", case["blueprints"])), {k: have(**v) for k, v in case["existing"].items()}
        ),
        owned,
        unproven={r.id: why for r in rules if (why := (case.get("unproven") or {}).get(r.kind.removesuffix("s")))},
        expressions=expressions(rules),
        tool="jq",
        around=_around(case),
        taken_at=BASE.taken_at,
        not_read=frozenset(case.get("not_read") or ()),
        missing=frozenset(case.get("missing") or ()),
        account=case.get("account", ""),
        lacking=tuple(Unavailable(**{**each, "paths": tuple(each["paths"])}) for each in case.get("lacking") or ()),
    )
    return plan(facts, **{k: tuple(v) if isinstance(v, list) else v for k, v in (case.get("scope") or {}).items()})


def _adopted(case: Mapping[str, Any], owned: Ledger) -> dict[str, LedgerEntry]:
    return {
        name: replace(owned.blueprints[name], origin="adopted", parts=dict.fromkeys(made or (), "created"))
        for name, made in (case.get("adopted") or {}).items()
    }


def _around(case: Mapping[str, Any]) -> Surroundings:
    return Surroundings(
        by_integration=frozenset(map(key, case.get("by_integration") or ())),
        teams={key(k): tuple(teams) for k, teams in (case.get("teams") or {}).items()},
        dependents={key(k): have(**v) for k, v in (case.get("dependents") or {}).items()},
        scorecards={
            name: tuple(Scorecard(card, frozenset(reads)) for card, reads in cards.items())
            for name, cards in (case.get("scorecards") or {}).items()
        },
        unknown=tuple(case.get("unknown") or ()),
    )


def _rule(case: Mapping[str, Any], name: str, paths: Any) -> MappingRule:
    of, _, kind = name.partition(" of ")
    told = (case.get("lifecycle") or {}).get(name) or {}
    lifecycle = Lifecycle(
        on_remove=told.get("on_remove"),
        ignore_changes=tuple(told.get("ignore_changes") or ()),
        retention=timedelta(days=told["retention"]) if "retention" in told else None,
    )
    made = rule(of, paths, kind=kind or f"{name}s", lifecycle=lifecycle)
    if not isinstance(paths, dict):
        return made
    return replace(made, fields={path: Expression(text, HERE) for path, text in paths.items()})


def _listed(case: Mapping[str, Any]) -> list[str]:
    given = case.get("expressions", True)
    return [f"{name}s" for name in given] if isinstance(given, list) else []


def _blueprints(given: Mapping[str, Any]) -> list[Blueprint]:
    made = []
    for name, parts in given.items():
        plain = blueprint(name, **((parts or {}).get("relations") or {}))
        schema = dict(plain.definition["schema"])
        schema["properties"] = {**schema["properties"], **((parts or {}).get("properties") or {})}
        gone = (parts or {}).get("without") or ()
        schema["properties"] = {p: d for p, d in schema["properties"].items() if p not in gone}
        schema["required"] = (parts or {}).get("required") or []
        mirrors = {mirror: {"path": path} for mirror, path in ((parts or {}).get("mirrors") or {}).items()}
        more = {"mirrorProperties": mirrors} if mirrors else {}
        made.append(Blueprint(name, {**plain.definition, "schema": schema, **more}, (parts or {}).get("origins") or {}))
    return made


def _desired(case: Mapping[str, Any], rules: list[MappingRule]) -> DesiredEntities:
    """What the records give, joined where several give one entity, or what clashes."""
    claims = Claims()
    for name, given in case["desired"].items():
        for each in given if isinstance(given, list) else [given]:
            claims.add(_wanted(name, each))
    entities, clashes = claims.joined()
    held = {key(k): why for k, why in (case.get("held") or {}).items()}
    return desired(
        *entities.values(),
        held=held | {k: clash.reason for k, clash in clashes.items()},
        failed=case.get("failed") or {},
        diagnostics=problems_of(rules, clashes),
    )


def _wanted(name: str, values: Mapping[str, Any]) -> DesiredEntity:
    at, told = key(name), _values(values, name)
    return replace(want(at.identifier, at.blueprint, **told), source=told["source"])


def _entry(values: Any, name: str) -> LedgerEntry:
    """An entry of the ledger; from a list, that of an entity which several records made."""
    if not isinstance(values, list):
        return entry(**_values(values, name))
    each = sorted((entry(**_values(one, name)) for one in values), key=lambda one: one.source)
    portions = tuple(Portion(one.source, one.rules, tuple(sorted(one.fields))) for one in each)
    rules = tuple(rule for one in each for rule in one.rules)
    fields = {path: value for one in each for path, value in one.fields.items()}
    return replace(each[0], fields=fields, rules=rules, portions=portions)


def _values(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    at = key(name)
    source = (values or {}).get("source", f"{at.blueprint}s/{at.identifier}")
    return {"rules": (f"mappings/test.yaml#{source.partition('/')[0]}[0]",), **(values or {}), "source": source}


def _policy(given: Mapping[str, Any]) -> dict[str, Any]:
    limits = {name: DeleteLimit(**limit) for name, limit in (given.get("deletes") or {}).items()}
    return {**given, "deletes": limits, "protect": tuple(given.get("protect") or ())}


def expected(path: Path, text: str) -> str:
    """The expected text of a case; with PDSYNC_UPDATE_CASES set, `text` becomes it."""
    file = path.with_suffix(".txt")
    if os.environ.get("PDSYNC_UPDATE_CASES"):
        file.write_bytes(text.encode())
    return file.read_bytes().decode() if file.exists() else ""
