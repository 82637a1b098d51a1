"""`explain`: why an entity is as it is, or why a record gave none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from pdsync.jq.inputs import inputs_of
from tests.cli.workspace import MAPPING, PROJECT

if TYPE_CHECKING:
    from tests.cli.workspace import Ran, Workspace

PLACE = "catalog/mappings/pagerduty.yaml"
BLUEPRINTS = "catalog/blueprints/all.yaml"
NO_CREDENTIALS = {"PORT_CLIENT_ID": "", "PORT_CLIENT_SECRET": "", "PAGERDUTY_TOKEN": ""}


def services(here: Workspace) -> list[str]:
    return sorted(here.box.store.entities("service"))


def told(here: Workspace, key: str, *more: str, **env: str) -> dict[str, Any]:
    """What is told of one entity."""
    (account,) = here.ok("explain", key, "--format", "json", *more, code=0, **env).json["entities"]
    return dict(account)


def test_an_entity_value_by_value(applied: Workspace) -> None:
    """Whose it is, what each expression read and gave, what Port holds, the run that wrote it, what comes next."""
    edited = services(applied)[0]
    status = applied.box.store.entities("service")[edited]["properties"]["status"]
    applied.box.store.put_entity("service", {"identifier": edited, "properties": {"status": "by hand"}})
    out = applied.ok("explain", f"service/{edited}").out
    run = next(applied.folder.glob("state/journal/*.jsonl")).stem
    for line in (
        "  owner   managed: pdsync made it",
        f"  source  services/{edited} by mappings/pagerduty.yaml#services[0]",
        "  Port    has it, 1 of 3 fields not as mapped, made by sandbox-client-id ",
        ", last written by admin@sandbox.example ",
        "  last    create: done  [catalog]",
        f"in {run}: apply by ",
        "  next    ~ update  [drift]",
        f'            properties.status  "by hand" -> "{status}"  [drift]',
        f'  properties.status  "{status}"  {PLACE}:11:21',
        f'      we wrote: "{status}"\n      in Port: "by hand"',
    ):
        assert line in out
    assert applied.box.log.port_writes() == []


def test_the_document_fits_its_schema(applied: Workspace) -> None:
    """Whatever is asked for: an entity, a record that gave none."""
    applied.write(PLACE, MAPPING.replace("query: 'true'", "query: '.id != null'", 1))
    validator = Draft202012Validator(applied.ok("schema", "explanation").json)
    for key in (f"service/{services(applied)[0]}", f"users:{min(applied.box.world.users)}"):
        document = applied.ok("explain", key, "--format", "json").json
        assert [error.message for error in validator.iter_errors(document)] == []
        assert (document["format_version"], document["asked"]) == ("1.1", key)


def test_offline(applied: Workspace) -> None:
    """From the snapshot and the state alone, when that is wanted or nothing else is possible: nobody is asked."""
    key = f"service/{services(applied)[0]}"
    for ran in (applied.ok("explain", key, "--offline"), applied.ok("explain", key, code=0, **NO_CREDENTIALS)):
        assert "  Port    was not asked\n" in ran.out
        assert "  next    nothing to do\n" in ran.out
    assert (applied.box.log.all("port"), applied.box.log.all("pagerduty")) == ([], [])
    ran = applied.ok("explain", key, PORT_CLIENT_SECRET="wrong")
    assert "  Port    was not asked\n" in ran.out
    assert "(Port could not be read: " in ran.out


def test_a_record_that_the_selector_leaves_out(applied: Workspace) -> None:
    """The selector with what it read; and what becomes of the entity that the record made before."""
    gone = services(applied)[0]
    applied.write(PLACE, MAPPING.replace("query: 'true'", "query: '.id == null'", 1))
    for key in (f"services:{gone}", f"services/{gone}", f"service/{gone}", gone):
        out = applied.ok("explain", key).out
        assert f'      .id == null\n      reads .id: "{gone}"\n  not selected' in out
        assert "  next    - delete (nothing in the catalog makes it any more)  [catalog]" in out


def test_a_record_that_fails(applied: Workspace) -> None:
    """An error in a field, in the identifier, and two records that claim one entity: each with its reason."""
    service = services(applied)[0]
    applied.write(PLACE, MAPPING.replace("status: .status", "status: .name | error", 1))
    assert "  properties.status  error: " in applied.ok("explain", f"services:{service}").out
    applied.write(PLACE, MAPPING.replace("identifier: .id", "identifier: .nothing", 1))
    out = applied.ok("explain", f"services:{service}").out
    assert f"  owner   held: its record services/{service} could not be mapped: identifier: it is null\n" in out
    assert "  next    nothing: it is left as it is for as long as it is held\n" in out
    assert "\n(error[PD21" in out
    applied.write(PLACE, MAPPING.replace("identifier: .id", "identifier: '\"one\"'", 1))
    out = applied.ok("explain", "service/one").out
    assert "  owner   held: claimed by services/" in out
    assert out.count(" under mappings/pagerduty.yaml#services[0]") == 4


def test_several_outputs_and_items(applied: Workspace) -> None:
    """The first of several outputs; of a record with many items the one that makes the entity."""
    applied.write(PLACE, MAPPING.replace("url: .html_url", "url: .html_url, .id", 1))
    service = services(applied)[0]
    assert "(the first of several outputs)" in applied.ok("explain", f"service/{service}").out
    items = MAPPING.replace(
        "selector: {query: 'true'}\n    port:\n      entity:",
        "selector: {query: 'true'}\n    port:\n      itemsToParse: .teams\n      entity:",
        1,
    ).replace("identifier: .id", 'identifier: .id + "-" + .item.id', 1)
    applied.write(PLACE, items)
    team = min(applied.box.world.teams)
    out = applied.ok("explain", f"service/{service}-{team}").out
    assert f'reads .item.id: "{team}"' in out
    assert "  owner   new: Port does not have it yet" in out


def test_whose_an_entity_is(applied: Workspace) -> None:
    """Protected, held, withheld, foreign, to be taken over, released, gone: each said, with why."""
    first, second, third, fourth = services(applied)
    store = applied.box.store
    store.put_entity("service", {"identifier": "foreign", "title": "Not ours"})
    assert told(applied, "service/foreign")["standing"] == "foreign"
    applied.ok("state", "rm", f"service/{second}", "--auto-approve")
    assert told(applied, f"service/{second}")["standing"] == "to adopt"
    applied.write("catalog/pdsync.yaml", PROJECT + f"  protect: [service/{first}]\n")
    applied.box.mutate({"action": "delete_service", "id": first, "keep_incidents": True})
    applied.ok("-q", "snapshot")
    account = told(applied, f"service/{first}")
    assert (account["standing"], account["why"]) == ("withheld", "protected")
    assert account["also"][0].startswith("protected: `policy.protect` names it")
    applied.box.mutate({"action": "delete_service", "id": third})
    blueprints = (applied.folder / BLUEPRINTS).read_text(encoding="utf-8")
    applied.write(BLUEPRINTS, blueprints.replace("title: Status}", "title: Status, enum: [none]}", 1))
    store.put_entity("service", {"identifier": fourth, "properties": {"status": "edited"}})
    applied.run("-q", "apply", "--auto-approve")
    account = told(applied, f"service/{third}")
    assert (account["standing"], account["last"]["action"]) == ("gone", "delete")
    account = told(applied, f"service/{fourth}")
    assert (account["standing"], account["why"][:36]) == ("held", "Port would refuse properties.status:")


def test_a_wrong_key(applied: Workspace) -> None:
    """What was meant, or what can be written; several things with one identifier are named."""
    service = services(applied)[0]
    for key in (f"services/{service}"[1:], f"service/{service}x", f"{service}x", f"user:{service}"):
        ran: Ran = applied.ok("explain", key, code=1)
        assert "did you mean " in ran.err
        assert service in ran.err
        assert ran.out == ""
    assert "write BLUEPRINT/IDENTIFIER" in applied.ok("explain", "%", code=1).err
    applied.box.store.put_entity("person", {"identifier": service})
    applied.write(
        PLACE,
        MAPPING.replace("identifier: .id", f"identifier: '\"{service}\"'")
        .replace("kind: users", "kind: teams")
        .replace("role: .role", "role: .summary"),
    )
    applied.ok("-q", "snapshot")
    ran = applied.ok("explain", service, code=1)
    assert ("PD861" in ran.err, f"person/{service}" in ran.err) == (True, True)


def test_without_a_snapshot(here: Workspace) -> None:
    """It is taken when there are credentials, else it is said what to do."""
    assert "pdsync snapshot" in here.ok("explain", "x", code=1, **NO_CREDENTIALS).err
    service = min(here.box.world.services)
    assert told(here, f"service/{service}")["standing"] == "new"
    assert here.ok("-q", "explain", service, code=0, **NO_CREDENTIALS).code == 0


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        (".a", {".a": {"b": 1}}),
        (".a.b", {".a.b": 1}),
        (".a.c", {".a.c": None}),
        (".x.y", {".x": None}),
        (".a.b // .l", {".a.b": 1, ".l": [1]}),
        ("[.l[] | . + 1]", {".l": [1]}),
        ('"constant"', {}),
        ("to_entries", {".": {"a": {"b": 1}, "l": [1]}}),
    ],
)
def test_what_an_expression_reads(text: str, reads: dict[str, Any]) -> None:
    """Every value by its path; all of the record where it cannot be told."""
    assert inputs_of(text, {"a": {"b": 1}, "l": [1]}) == reads


def test_every_spelling(applied: Workspace) -> None:
    """As it is printed, by its record, by a page of PagerDuty or Port, by its title, in whatever case."""
    service = services(applied)[0]
    title = applied.box.store.entities("service")[service]["title"]
    for key in (
        *(f"service:{service}", f"service {service}", service.lower(), f"Service/{service}", title, title.upper()),
        f"https://acme.pagerduty.com/service-directory/{service}",
        f"https://acme.pagerduty.com/services#{service}",
        f"https://app.port.io/serviceEntity?identifier={service}",
    ):
        assert told(applied, key)["key"] == ["service", service], key
    for key in ("https://acme.pagerduty.com/services/PNONE", "https://", f"{title}x"):
        assert "PD860" in applied.ok("explain", key, code=1).err
    applied.box.store.put_entity("service", {"identifier": "twin", "title": title})
    ran = applied.ok("explain", title, code=1)
    assert ("PD861" in ran.err, f'service/{service} "{title}", service/twin "{title}"' in ran.err) == (True, True)


def test_another_list_than_the_snapshot_has(applied: Workspace) -> None:
    """A mapping that asks for what was not read is said: else a record would seem to be left out for no reason."""
    service = services(applied)[0]
    applied.write(PLACE, MAPPING.replace("query: 'true'", "query: 'true', apiQueryParams: {include: [teams]}", 1))
    out = applied.ok("explain", f"service/{service}").out
    assert "services[0] asks for a list that this snapshot does not have: `pdsync snapshot` takes a new one" in out


def test_what_is_left_alone_and_what_is_merged(applied: Workspace) -> None:
    """Two mappings of one entity are both told; what `ignore_changes` covers stays and is said to."""
    service = services(applied)[0]
    extra = MAPPING[: MAPPING.index("  - kind: users")].replace(
        "status: .status\n            url: .html_url", "note: .id"
    )
    extra = extra.replace("    port:", "    lifecycle: {ignore_changes: [properties.note]}\n    port:", 1)
    applied.write("catalog/mappings/extra.yaml", extra)
    applied.box.store.put_entity("service", {"identifier": service, "properties": {"note": "by hand"}})
    out = applied.ok("explain", f"service/{service}").out
    assert "mappings/extra.yaml#services[0], mappings/pagerduty.yaml#services[0]\n" in out
    assert '      in Port, left alone by `ignore_changes`: "by hand"\n' in out


def test_a_place_inside_an_object_that_is_left_alone(applied: Workspace) -> None:
    """Explained by its path, counted by the plan, kept by the apply, and no drift."""
    service = services(applied)[0]
    blueprint = (applied.folder / BLUEPRINTS).read_text("utf-8")
    applied.write(BLUEPRINTS, blueprint.replace("  properties:\n", "  properties:\n    meta: {type: object}\n", 1))
    mapped = MAPPING.replace("status: .status", "meta: '{tier: .status, owner: .id}'", 1)
    mapped = mapped.replace("    port:", "    lifecycle: {ignore_changes: [properties.meta.owner]}\n    port:", 1)
    applied.write(PLACE, mapped)
    applied.ok("apply", "--auto-approve")
    edit = {"identifier": service, "properties": {"meta": {"tier": "gold", "owner": "them"}}}
    applied.box.store.put_entity("service", edit)
    out = applied.ok("explain", f"service/{service}").out
    assert '      in Port, left alone by `ignore_changes`: .owner "them"\n' in out
    out = applied.ok("apply", "--auto-approve").out
    assert "service properties.meta.owner: 1 entity differs" in out
    assert applied.box.store.entities("service")[service]["properties"]["meta"]["owner"] == "them"
    applied.ok("drift", "--detailed-exitcode", code=0)


def test_a_stub_and_what_a_record_that_is_gone_had_made(applied: Workspace) -> None:
    """What no record makes says who needs it; a record that is no longer listed is still known by what is ours."""
    gone, kept = services(applied)[:2]
    ghost = "createMissingRelatedEntities: true\n" + MAPPING.replace("service: .service.id", "service: '\"ghost\"'")
    applied.write(PLACE, ghost)
    out = applied.ok("explain", "ghost").out
    assert "  owner   new: Port does not have it yet\n          no record makes it, incident/" in out
    assert " and 3 more points at it" in out
    assert "  next    + create (a relation needs it)  [source]\n" in out
    assert "(causes not exact: the catalog that was applied last is in no commit)\n" in out
    applied.box.mutate({"action": "delete_service", "id": gone})
    applied.ok("-q", "snapshot")
    out = applied.ok("explain", f"services:{gone}").out
    assert f"service/{gone} " in out
    assert f"(services/{gone} is not in the snapshot taken " in out
    applied.write(PLACE, ghost.replace("identifier: .id", "identifier: '\"s-\" + .id'", 1))
    out = applied.ok("explain", f"s-{kept}").out
    assert f"  next    > rename (its record has another identifier: {kept})  [" in out


def test_what_nobody_mapped_is_not_printed(applied: Workspace) -> None:
    """Of an entity in a blueprint that is none of ours there is its title, and no value of it."""
    blueprint = {"identifier": "phone", "title": "Phone", "schema": {"properties": {"number": {"type": "string"}}}}
    applied.box.store.create_blueprint(blueprint)
    applied.box.store.put_entity("phone", {"identifier": "one", "title": "Red", "properties": {"number": "555-0100"}})
    for form in ("text", "json"):
        out = applied.ok("explain", "phone/one", "--format", form).out
        assert ("Red" in out, "foreign" in out, "555" in out) == (True, True, False)


POLICIES = """\
resources:
  - kind: escalation_policies
    selector: {query: '.services[0] != null'}
    port:
      entity:
        mappings:
          identifier: .services[0].id
          blueprint: '"service"'
          properties:
            status: IT
"""


def test_a_field_of_a_record_that_failed(here: Workspace) -> None:
    """The plan and the explanation say for what reason Port's value stays; of the record only what makes this entity."""
    here.write(PLACE, MAPPING.replace("            status: .status\n", "", 1))
    here.write("catalog/mappings/policies.yaml", POLICIES.replace("IT", ".name"))
    here.ok("-q", "apply", "--auto-approve")
    there = here.box.store.entities("service")
    key = next(k for k, entity in sorted(there.items()) if entity["properties"].get("status"))
    here.write("catalog/mappings/policies.yaml", POLICIES.replace("IT", ".name").replace(".services[0].id", "error(1)"))
    planned = here.run("plan")
    assert planned.code == 1
    assert f"  service/{key}: its record escalation_policies/" in planned.out
    assert "could not be mapped: identifier: 1; kept as in Port: properties.status" in planned.out
    out = here.ok("explain", f"service/{key}").out
    assert "has it as mapped, 1 field kept" in out
    value = there[key]["properties"]["status"]
    assert f'could not be mapped: identifier: 1\n      in Port, as we wrote it: "{value}"' in out
    assert all(" under mappings/policies.yaml" in line for line in out.splitlines() if line.startswith("escalation_"))
