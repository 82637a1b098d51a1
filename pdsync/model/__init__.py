"""The nouns of pdsync, a module for each matter.

    values       keys, paths, what is read only when it is asked for
    catalog      what stands in git             snapshot     what a source said
    sides        what is to be in Port, and is  ledger       what we own, and by which runs
    changes      one action on one thing        plan         all of them, and what is not done
    runs         what became of a plan          examination  what `doctor` finds

Everything that is compared is a flat map from *path* to value (`Fields`):

    entity      title, icon, team, properties.<id>, relations.<id>
    blueprint   title, description, icon, schema.properties.<id>, schema.required, relations.<id>,
                mirrorProperties.<id>, calculationProperties.<id>, aggregationProperties.<id>, ownership

A path that is absent was not spoken of; a value that is None is to be empty.  Both sides of a comparison are in
the normal form of `pdsync.normal`, so equality is `==`.  Values are plain JSON.  All types are frozen: build new,
never edit.
"""

from __future__ import annotations

from pdsync.model.catalog import (
    Blueprint,
    Catalog,
    DeleteLimit,
    Expression,
    Lifecycle,
    MappingRule,
    Policy,
    Project,
    Query,
    Removal,
    SearchQuery,
)
from pdsync.model.changes import ALIKE, Action, Cause, Change, FieldChange, FieldChanges, number
from pdsync.model.examination import Examination, KindState
from pdsync.model.ledger import EntityOrigin, Ledger, LedgerEntry, Listed, RunNote, makers, sources_of, under_names
from pdsync.model.plan import (
    BlastRadius,
    Branch,
    Commit,
    Dependent,
    Guard,
    Held,
    Ignored,
    Kept,
    Otherwise,
    Plan,
    PlanBase,
    Summary,
    Unavailable,
    Withheld,
    lacking,
    renames_of,
)
from pdsync.model.runs import Image, LedgerBefore, Outcome, OutcomeStatus, RunHead, RunRecord
from pdsync.model.sides import (
    DesiredEntities,
    DesiredEntity,
    Existing,
    ExistingEntity,
    Portion,
    RuleCount,
    Scorecard,
    Surroundings,
)
from pdsync.model.snapshot import (
    Collection,
    KeptBytes,
    Leaned,
    ManyRecords,
    Missing,
    PageRead,
    PagesRead,
    Record,
    Snapshot,
    digests_of,
    ids_of,
    raw_digest,
)
from pdsync.model.values import EntityKey, Fields, FieldsView, Json, Row, Unread, Unreadily, glance, unpack, unread

__all__ = [
    "ALIKE",
    "Action",
    "BlastRadius",
    "Blueprint",
    "Branch",
    "Catalog",
    "Cause",
    "Change",
    "Collection",
    "Commit",
    "DeleteLimit",
    "Dependent",
    "DesiredEntities",
    "DesiredEntity",
    "EntityKey",
    "EntityOrigin",
    "Examination",
    "Existing",
    "ExistingEntity",
    "Expression",
    "FieldChange",
    "FieldChanges",
    "Fields",
    "FieldsView",
    "Guard",
    "Held",
    "Ignored",
    "Image",
    "Json",
    "Kept",
    "KeptBytes",
    "KindState",
    "Leaned",
    "Ledger",
    "LedgerBefore",
    "LedgerEntry",
    "Lifecycle",
    "Listed",
    "ManyRecords",
    "MappingRule",
    "Missing",
    "Otherwise",
    "Outcome",
    "OutcomeStatus",
    "PageRead",
    "PagesRead",
    "Plan",
    "PlanBase",
    "Policy",
    "Portion",
    "Project",
    "Query",
    "Record",
    "Removal",
    "Row",
    "RuleCount",
    "RunHead",
    "RunNote",
    "RunRecord",
    "Scorecard",
    "SearchQuery",
    "Snapshot",
    "Summary",
    "Surroundings",
    "Unavailable",
    "Unread",
    "Unreadily",
    "Withheld",
    "digests_of",
    "glance",
    "ids_of",
    "lacking",
    "makers",
    "number",
    "raw_digest",
    "renames_of",
    "sources_of",
    "under_names",
    "unpack",
    "unread",
]
