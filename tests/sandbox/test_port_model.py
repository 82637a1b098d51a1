"""Whatever is written and deleted, the sandbox's Port holds what a ten-line model says it holds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.sandbox.port_client import PortClient

NAMES = st.sampled_from(["a", "b", "c", "d/e"])
LISTS = st.lists(NAMES, max_size=3)
NODES = st.fixed_dictionaries(
    {},
    optional={
        "title": st.sampled_from(["T", "U", ""]),
        "icon": st.just("Service"),
        "team": LISTS | NAMES,
        "properties": st.fixed_dictionaries(
            {}, optional={"s": st.none() | st.sampled_from(["x", "é", ""]), "n": st.none() | st.integers(0, 2)}
        ),
        "relations": st.fixed_dictionaries({}, optional={"one": st.none() | NAMES, "many": st.none() | LISTS}),
    },
)
PARENTS = st.fixed_dictionaries({}, optional={"parent": st.none() | NAMES})

Model = dict[tuple[str, str], dict[str, Any]]


def unique(values: Any) -> list[str]:
    return list(dict.fromkeys([values] if isinstance(values, str) else values))


def changed(before: dict[str, Any] | None, body: dict[str, Any], *, merge: bool) -> dict[str, Any]:
    """What an entity is after a write."""
    kept = before if merge and before else {"title": None, "icon": None, "team": [], "properties": {}, "relations": {}}
    relations = {**kept["relations"], **body.get("relations", {})}
    return {
        "title": body.get("title", kept["title"]),
        "icon": body.get("icon", kept["icon"]),
        "team": unique(body.get("team", kept["team"])),
        "properties": {**kept["properties"], **body.get("properties", {})},
        "relations": {
            name: unique(value) if isinstance(value, list) else value for name, value in relations.items() if value
        },
    }


class PortMachine(RuleBasedStateMachine):
    """Nodes point at nodes; a leaf requires a node."""

    def __init__(self) -> None:
        super().__init__()
        self.port = PortClient()
        to_node = {"target": "node", "required": False}
        properties = {"s": {"type": "string"}, "n": {"type": "number"}}
        self.port.blueprint("node", properties=properties)
        relations = {"one": {**to_node, "many": False}, "many": {**to_node, "many": True}}
        self.port.patch("blueprints", "node", body={"relations": relations})
        self.port.blueprint("leaf", relations={"parent": {"target": "node", "many": False, "required": True}})
        self.model: Model = {}

    def is_missing(self, body: dict[str, Any]) -> bool:
        targets = [name for value in body.get("relations", {}).values() if value for name in unique(value)]
        return any(("node", name) not in self.model for name in targets)

    def expected_status(self, blueprint: str, name: str, body: dict[str, Any], *, merge: bool) -> int:
        after = changed(self.model.get((blueprint, name)), body, merge=merge)
        if blueprint == "leaf" and "parent" not in after["relations"]:
            return 422
        return 404 if self.is_missing(body) else 201

    def upsert(self, blueprint: str, name: str, body: dict[str, Any], *, merge: bool) -> None:
        answer = self.port.upsert(blueprint, {"identifier": name, **body}, merge=merge)
        expected = self.expected_status(blueprint, name, body, merge=merge)
        assert answer.status == expected
        if expected == 201:
            self.model[blueprint, name] = changed(self.model.get((blueprint, name)), body, merge=merge)

    @rule(name=NAMES, body=NODES, merge=st.booleans())
    def write_a_node(self, name: str, body: dict[str, Any], merge: bool) -> None:
        self.upsert("node", name, body, merge=merge)

    @rule(name=NAMES, relations=PARENTS, merge=st.booleans())
    def write_a_leaf(self, name: str, relations: dict[str, Any], merge: bool) -> None:
        self.upsert("leaf", name, {"relations": relations}, merge=merge)

    @rule(name=NAMES, body=NODES, merge=st.booleans())
    def change_a_node(self, name: str, body: dict[str, Any], merge: bool) -> None:
        change = self.port.patch if merge else self.port.put
        answer = change("blueprints", "node", "entities", name, body=body)
        before = self.model.get(("node", name))
        assert answer.status == (404 if before is None or self.is_missing(body) else 200)
        if answer.status == 200:
            self.model["node", name] = changed(before, body, merge=merge)

    @rule(bodies=st.dictionaries(NAMES, NODES, min_size=1), merge=st.booleans())
    def write_nodes_in_bulk(self, bodies: dict[str, dict[str, Any]], merge: bool) -> None:
        answer = self.port.bulk("node", *({"identifier": name, **body} for name, body in bodies.items()), merge=merge)
        failed = []
        for name, body in bodies.items():
            if self.is_missing(body):
                failed.append(name)
            else:
                self.model["node", name] = changed(self.model.get(("node", name)), body, merge=merge)
        assert [error["identifier"] for error in answer.body["errors"]] == failed
        assert answer.status == (207 if failed else 200)

    def leaves_of(self, *names: str) -> list[tuple[str, str]]:
        return [key for key, entity in self.model.items() if entity["relations"].get("parent") in names]

    def forget(self, *names: str) -> None:
        for name in names:
            self.model.pop(("node", name), None)
        for entity in self.model.values():
            relations = entity["relations"]
            left = {
                "one": relations.get("one") if relations.get("one") not in names else None,
                "many": [name for name in relations.get("many", []) if name not in names],
                "parent": relations.get("parent"),
            }
            entity["relations"] = {name: value for name, value in left.items() if value}

    @rule(name=NAMES, delete_dependents=st.booleans())
    def delete_a_node(self, name: str, delete_dependents: bool) -> None:
        answer = self.port.delete("blueprints", "node", "entities", name, delete_dependents=delete_dependents)
        leaves = self.leaves_of(name)
        expected = 404 if ("node", name) not in self.model else 422 if leaves and not delete_dependents else 200
        assert answer.status == expected
        if expected == 200:
            for leaf in leaves:
                del self.model[leaf]
            self.forget(name)

    @rule(names=st.lists(NAMES, min_size=1, max_size=3))
    def delete_nodes_in_bulk(self, names: list[str]) -> None:
        body = {"entities": names}
        answer = self.port.post("blueprints", "node", "bulk", "entities", "delete", body=body, delete_dependents=False)
        present = [name for name in unique(names) if ("node", name) in self.model]
        assert answer.status == (422 if self.leaves_of(*present) else 200)
        if answer.status == 200:
            assert answer.body["deletedEntities"] == present
            self.forget(*present)

    @invariant()
    def port_holds_what_the_model_holds(self) -> None:
        held = self.port.store.snapshot()["entities"]
        found = {
            (blueprint, name): {key: value for key, value in entity.items() if key != "identifier"}
            for blueprint in ("node", "leaf")
            for name, entity in held[blueprint].items()
        }
        assert found == self.model

    @invariant()
    def nothing_points_at_nothing(self) -> None:
        data = self.port.store.data
        dangling = [
            target
            for entities in data.entities.values()
            for entity in entities.values()
            for _, target in data.targets(entity)
            if data.find(target) is None
        ]
        assert dangling == []

    @invariant()
    def the_index_of_pointers_is_exact(self) -> None:
        data = self.port.store.data
        kept = {key: set(data.pointers(key)) for key in data._pointers}
        data.reindex()
        assert {key: set(data.pointers(key)) for key in data._pointers} == kept


PortMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestPort = PortMachine.TestCase
