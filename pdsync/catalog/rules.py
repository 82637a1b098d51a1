"""Every catalog check by its code: what it says and why it is there.

A code never changes its meaning.  PD140 to PD149 are found by `pdsync.kinds`, which reads selectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdsync.errors import Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pdsync.errors import Origin


@dataclass(frozen=True, slots=True)
class Rule:
    """One check: its code, how bad a hit is, the summary that is printed, and why it exists."""

    code: str
    severity: Severity
    summary: str
    why: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_TABLE = (
    # --- files ---
    Rule("PD100", _E, "catalog cannot be read", "Without the folder, or the commit, there is nothing to check."),
    Rule("PD101", _E, "not valid YAML", "A file that cannot be parsed says nothing."),
    Rule("PD102", _E, "not valid JSON", "A .json file is read by other tools too: no comments, no trailing commas."),
    Rule("PD103", _E, "key given twice", "Most parsers keep the last one silently and lose the first."),
    Rule("PD104", _E, "aliases are not allowed", "A few lines of aliases can stand for gigabytes, and hide in review."),
    Rule("PD105", _E, "unquoted date", "Parsers disagree on whether it is text or a date; quotes settle it."),
    Rule("PD106", _E, "not a JSON value", "Port speaks JSON: no infinities, tags or keys that are maps."),
    Rule("PD107", _E, "not plain UTF-8 text", "Bytes that are no text and control characters cannot be sent or shown."),
    Rule("PD108", _W, "file is not read", "A file in the wrong place does nothing, and nobody notices."),
    Rule("PD109", _E, "not a map of keys and values", "Every document in the catalog is an object."),
    # --- shape ---
    Rule("PD110", _E, "unknown key", "A misspelled key is otherwise ignored silently."),
    Rule("PD111", _E, "required key is missing", "Without it the rest has no meaning."),
    Rule("PD112", _E, "value is not one of those allowed", "Port would refuse it."),
    Rule("PD113", _E, "wrong type of value", "Port would refuse it, or it would mean something else."),
    Rule("PD114", _E, "value out of bounds", "Port states limits for lengths and numbers."),
    Rule("PD115", _E, "invalid identifier", "Port allows certain characters only, and fewer in blueprints."),
    Rule("PD116", _E, "secret in the catalog", "What is in git is read by everybody who reads the repository."),
    Rule("PD117", _E, "unknown environment", "An environment is a name under environments in pdsync.yaml."),
    Rule("PD118", _E, "pdsync.yaml is missing", "The project file names the project, and with it the state."),
    Rule("PD119", _W, "policy for a blueprint that is not in the catalog", "A misspelled name protects nothing."),
    # --- blueprints ---
    Rule("PD120", _E, "blueprint defined twice", "Which of the two is meant cannot be told."),
    Rule("PD121", _W, "relation target is not in the catalog", "It must exist in Port before entities relate to it."),
    Rule("PD122", _E, "relation target is misspelled", "Nearly the name of a blueprint of this catalog."),
    Rule("PD123", _E, "relation is both many and required", "Port refuses the combination."),
    Rule("PD124", _E, "required property does not exist", "No entity could ever be written."),
    Rule("PD125", _E, "enum does not agree with itself", "Values twice, of another type, or colours for no value."),
    Rule("PD126", _E, "default does not fit the property", "Port would refuse every entity that gets it."),
    Rule("PD127", _E, "keyword does not fit the type", "Port refuses it, or it has no effect."),
    Rule("PD128", _E, "identifier used twice in one blueprint", "All kinds of properties share one set of names."),
    Rule("PD129", _E, "mirror path leads nowhere", "A path is relations of existing blueprints, then a property."),
    Rule("PD130", _E, "calculation cannot work", "It reads a property that is not there, or another calculation."),
    Rule("PD131", _E, "aggregation cannot work", "Function, property and target must fit each other."),
    Rule("PD132", _E, "ownership path leads nowhere", "Inherited ownership follows relations that must exist."),
    Rule("PD133", _E, "system blueprint", "Writing users and teams invites and removes real people."),
    Rule("PD134", _N, "read-only key is ignored", "Port sets it; a definition copied from Port's API has it."),
    # --- selectors: found by pdsync.kinds ---
    Rule("PD140", _E, "unknown kind", "Only the kinds of PagerDuty records that are known can be fetched."),
    Rule("PD141", _W, "unknown selector key", "Port's integration ignores it silently."),
    Rule("PD142", _W, "selector key at the wrong level", "It is ignored: filters belong under apiQueryParams."),
    Rule("PD143", _E, "invalid selector value", "Port's integration then treats the kind as a custom one, and dies."),
    Rule("PD145", _W, "selector value out of range", "PagerDuty cuts or refuses what is beyond its limits."),
    Rule("PD146", _W, "environment variables are never exported", "A mapping must not be able to read secrets."),
    Rule("PD147", _W, "selector key without effect", "Another key switches it off, or it says nothing."),
    Rule("PD148", _W, "kind goes away", "PagerDuty has announced the end of this list."),
    Rule("PD149", _E, "required filter is missing", "PagerDuty refuses to list this kind without it."),
    # --- mappings ---
    Rule("PD150", _E, "jq does not compile", "Port's integration takes it for null on every entity."),
    Rule("PD151", _E, "jq may not use this", "A mapping reads its record only: no environment, clock, input, modules."),
    Rule(
        "PD152",
        _E,
        "expression is not text",
        "An expression is jq, so it is text; a number or bool becomes other text.",
    ),
    Rule("PD153", _E, "unquoted true or false as query", "Port's integration reads it as True, which is not jq."),
    Rule("PD154", _E, "constant without inner quotes", "It is jq: a bare word is a function that does not exist."),
    Rule("PD155", _E, "jq is cut off by a YAML comment", "In an unquoted value, a # after a space starts a comment."),
    Rule("PD156", _E, "nested mapping", "Each property takes one jq text; build objects and lists in jq."),
    Rule("PD157", _W, "blueprint does not have this", "Port refuses or drops it, so it is not sent."),
    Rule("PD158", _W, "computed property cannot be written", "Port computes it, so it is not sent."),
    Rule("PD159", _E, "constant does not fit", "Port would refuse every entity."),
    Rule("PD160", _W, "expression gives another type", "Port refuses a value of the wrong type."),
    Rule(
        "PD161", _W, "blueprint is not in the catalog", "It must exist in Port, and nothing can be checked against it."
    ),
    Rule("PD162", _W, "selector never selects", "The mapping is dead: what it made before would be deleted."),
    Rule("PD163", _W, "resource repeats another one", "It does the work twice and changes nothing."),
    Rule("PD164", _N, "no mapping writes this blueprint", "It stays empty unless something else fills it."),
    Rule("PD165", _W, "enrichment is not fetched", "The key is absent from the record, so the value is always null."),
    Rule("PD166", _W, "identifier is not unique", "Records with the same identifier overwrite each other."),
    Rule("PD167", _E, "search query is malformed", "Port takes a combinator and rules of property, operator, value."),
    Rule("PD168", _W, "items are not used", "Every item of a record maps to the same entity."),
    Rule("PD169", _W, "required value is not mapped", "Port refuses to create an entity without it."),
    Rule("PD170", _W, "team is inherited", "The blueprint takes its team along a relation; it is not to be written."),
    Rule("PD171", _N, "incidents without a window", "PagerDuty lists the last 30 days unless asked otherwise."),
    Rule("PD172", _W, "lifecycle without effect", "A path or a retention that changes nothing protects nothing."),
    Rule(
        "PD173",
        _E,
        "retention without the age of a record",
        "A record that is not listed any more tells its age by what was mapped from it.",
    ),
    Rule("PD174", _E, "members of a list left alone", "They have no names: which is which changes with every edit."),
    Rule("PD175", _E, "indentation is lost", "What is not indented does not belong to what stands above it."),
    Rule("PD176", _W, "file says nothing", "An emptied file takes back what it said: its entities would be deleted."),
    Rule("PD177", _W, "object is not included", "A reference has no such field, so the value is always null."),
)

RULES: Mapping[str, Rule] = MappingProxyType({rule.code: rule for rule in _TABLE})
"""Every rule by its code."""


def found(
    code: str,
    origin: Origin | None,
    detail: str = "",
    hint: str = "",
    *,
    related: tuple[Origin, ...] = (),
    severity: Severity | None = None,
) -> Diagnostic:
    """A hit of a rule at a place; `severity` only where one rule has hits of different weight."""
    rule = RULES[code]
    return Diagnostic(severity or rule.severity, code, rule.summary, detail, origin, hint, related)
