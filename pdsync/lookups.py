"""Answers the search queries of mappings while planning: asks the target, and reckons with what the plan will change.

Mapping runs in a thread of its own; what it asks is asked on the event loop of the plan.  An identical query is asked
once a plan, however many records it is for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pdsync.model import DesiredEntities
from pdsync.plan import Facts
from pdsync.plan.found import Findings, place_of
from pdsync.searching import Answer, Question
from pdsync.targets import TargetReader

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pdsync.model import Catalog, DesiredEntity, EntityKey
    from pdsync.searching import Asked, Lookup


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches of one plan: its facts but for what is desired, whom to ask, and what was found so far."""

    facts: Facts
    reader: TargetReader
    loop: asyncio.AbstractEventLoop
    known: dict[Question, tuple[str, ...] | str] = field(default_factory=dict)

    def under(self, catalog: Catalog) -> Lookup:
        """The lookup for what this catalog makes; to be called from another thread than the loop's."""

        def lookup(asked: Collection[Asked], desired: Mapping[EntityKey, DesiredEntity]) -> dict[Asked, Answer]:
            facts = replace(self.facts, catalog=catalog, desired=DesiredEntities(desired))
            blueprints = {**facts.existing.blueprints, **catalog.blueprints}
            places = {each: place_of(each, blueprints) for each in asked}
            questions = {each: Question(p[0], each.query) for each, p in places.items() if not isinstance(p, str)}
            self._ask(set(questions.values()) - self.known.keys())
            findings = Findings(facts, blueprints)
            return {
                each: Answer("unknown", told=place)
                if isinstance(place, str)
                else findings.answer(questions[each], self.known[questions[each]], many=place[1])
                for each, place in places.items()
            }

        return lookup

    def _ask(self, questions: Collection[Question]) -> None:
        """Ask what is not known; of a blueprint that is only to be made, nothing is found."""
        there = self.facts.existing.blueprints
        self.known.update((each, ()) for each in questions if each.blueprint not in there)
        open_ = sorted(each for each in questions if each.blueprint in there)
        if open_:
            asking = self.reader.found(open_)
            self.known.update(asyncio.run_coroutine_threadsafe(asking, self.loop).result())
