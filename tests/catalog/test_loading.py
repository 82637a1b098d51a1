"""What a catalog becomes: project, blueprints and rules, from disk, from git, for an environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import git
import pytest

from pdsync.catalog import catalog_revision, check_catalog, load_catalog
from pdsync.errors import CatalogError, Severity
from pdsync.model import DeleteLimit, Expression, Policy, Query, SearchQuery
from tests.catalog.cases import HERE, MAPPING, SERVICE, STARTER, checked, codes, loaded, mapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# --- project ---------------------------------------------------------------------------------------------------

PROJECT = """\
name: ours
port: {base_url: https://port.example}
policy:
  deletes:
    "*": {count: 1}
    service: {percent: 50}
  adopt: refuse
  protect: [service/core-*]
environments:
  eu:
    pagerduty: {api_url: https://api.eu.pagerduty.com}
    state: {url: s3://bucket/eu}
    policy:
      deletes:
        service: {count: 7}
      on_remove: delete
"""


def test_the_project_file() -> None:
    """What is not given has its default; a limit that is half given keeps the other half's default."""
    project = loaded({"pdsync.yaml": PROJECT}).project
    assert (project.name, project.port_base_url, project.pagerduty_api_url, project.state_url) == (
        "ours",
        "https://port.example",
        "https://api.pagerduty.com",
        "",
    )
    limits = {"*": DeleteLimit(1, 2.0), "service": DeleteLimit(10, 50)}
    assert project.policy == Policy(limits, "refuse", "release", ("service/core-*",))


@pytest.mark.parametrize(("written", "hours"), [("2h", 2), ("1d", 24), ("0h", 0), ("null", 1)])
def test_how_long_a_shrink_is_waited_for(written: str, hours: int) -> None:
    """An hour, unless the policy says otherwise; no time at all is to be written as well."""
    project = loaded({"pdsync.yaml": f"name: ours\npolicy: {{believe_shrink_after: {written}}}\n"}).project
    assert project.policy.believe_shrink_after == timedelta(hours=hours)


def test_an_environment_is_laid_over_the_project() -> None:
    """Map by map: what the environment does not mention stays."""
    project = loaded({"pdsync.yaml": PROJECT}, "eu").project
    assert (project.port_base_url, project.pagerduty_api_url, project.state_url) == (
        "https://port.example",
        "https://api.eu.pagerduty.com",
        "s3://bucket/eu",
    )
    limits = {"*": DeleteLimit(1, 2.0), "service": DeleteLimit(7, 50)}
    assert project.policy == Policy(limits, "refuse", "delete", ("service/core-*",))


def test_a_secret_is_not_shown() -> None:
    """Not in the message, not in the line that is shown."""
    _, diagnostics = checked({"pdsync.yaml": "name: ours\npagerduty: {token: u+verysecret, api_key: alsosecret}\n"})
    assert codes(diagnostics) == ["PD116", "PD116"]
    assert "secret" not in str(diagnostics).replace("secret in the catalog", "")


# --- blueprints ------------------------------------------------------------------------------------------------


def test_a_blueprint_knows_where_each_of_its_paths_stands() -> None:
    """Paths are those of the flat form that plans use."""
    text = SERVICE + "  required: [url]\nicon: pagerduty\nrelations:\n  up: {target: service}\n"
    blueprint = loaded({"blueprints/service.yaml": text}).blueprints["service"]
    assert {path: (origin.file, origin.line) for path, origin in blueprint.origins.items()} == {
        "identifier": ("catalog/blueprints/service.yaml", 1),
        "title": ("catalog/blueprints/service.yaml", 2),
        "icon": ("catalog/blueprints/service.yaml", 8),
        "schema.required": ("catalog/blueprints/service.yaml", 7),
        "schema.properties.url": ("catalog/blueprints/service.yaml", 5),
        "schema.properties.count": ("catalog/blueprints/service.yaml", 6),
        "relations.up": ("catalog/blueprints/service.yaml", 10),
    }


def test_what_port_adds_to_a_blueprint_is_left_out() -> None:
    """A definition copied from Port's API can be used as it is."""
    text = '{"identifier":"b","title":"B","schema":{"properties":{}},"createdAt":"x","id":"y"}'
    assert loaded({"blueprints/b.json": text}).blueprints["b"].definition == {
        "identifier": "b",
        "title": "B",
        "schema": {"properties": {}},
    }


def test_blueprints_come_as_documents_or_as_a_list() -> None:
    """Several in one YAML file, or a JSON list, as Port's integrations ship them."""
    two = SERVICE.replace("service", "one") + "---\n" + SERVICE.replace("service", "two") + "---\n"
    listed = '[{"identifier":"three","title":"3","schema":{"properties":{}}}]'
    blueprints = loaded({"blueprints/more.yml": two, "blueprints/deep/LIST.JSON": listed}).blueprints
    assert list(blueprints) == ["one", "service", "three", "two"]


# --- mappings --------------------------------------------------------------------------------------------------

WHOLE = """\
createMissingRelatedEntities: false
deleteDependentEntities: "true"
enableMergeEntity: false
entityDeletionThreshold: 0.5
resources:
  - kind: escalation_policies
    selector:
      query: .name != 'x'
      attachOncallUsers: 'false'
    port:
      itemsToParse: .escalation_rules
      itemsToParseName: rule
      itemsToParseTopLevelTransform: false
      entity:
        mappings:
          identifier: .rule.id
          blueprint: '"service"'
          title: >
            .name
          team:
            combinator: "'and'"
            rules:
              - {property: '"$title"', operator: '"="', value: .name}
          properties:
            url: .html_url
            nope: .x
"""


def test_a_resource_becomes_a_rule() -> None:
    """With its query, flags, expressions after the rewrite of quotes, and without what the blueprint lacks."""
    catalog = loaded({"mappings/deep/all.yaml": WHOLE})
    (rule,) = catalog.rules
    assert (rule.id, rule.kind) == ("mappings/deep/all.yaml#escalation_policies[0]", "escalation_policies")
    assert rule.query == Query("escalation_policies")
    assert (rule.create_missing_related, rule.delete_dependents, rule.merge, rule.deletion_threshold) == (
        False,
        True,
        False,
        0.5,
    )
    assert (rule.items.text if rule.items else "", rule.items_name, rule.items_strip) == (
        ".escalation_rules",
        "rule",
        False,
    )
    assert rule.selector.text == '.name != "x"'
    assert list(rule.fields) == ["title", "team", "properties.url"]
    title = rule.fields["title"]
    assert isinstance(title, Expression)
    assert (title.text, str(title.origin)) == (".name\n", "catalog/mappings/deep/all.yaml:19:13")
    assert codes(list(catalog.diagnostics)) == ["PD157"]


def test_a_search_query_has_an_expression_in_every_leaf() -> None:
    """Each leaf is jq itself, as in Port's integration."""
    (rule,) = loaded({"mappings/all.yaml": WHOLE}).rules
    team = rule.fields["team"]
    assert isinstance(team, SearchQuery)
    leaves = {key: one.text for key, one in team.rules["rules"][0].items()}
    assert (team.rules["combinator"].text, leaves) == (
        '"and"',
        {"property": '"$title"', "operator": '"="', "value": ".name"},
    )


def test_defaults_of_a_mapping_are_those_of_ports_integration_but_for_dependents() -> None:
    """We never delete what merely relates to a deleted entity unless it is asked for."""
    (rule,) = loaded({"mappings/m.yaml": MAPPING}).rules
    assert (rule.create_missing_related, rule.merge, rule.delete_dependents, rule.deletion_threshold) == (
        True,
        True,
        False,
        0.9,
    )


def test_ids_count_the_resources_of_one_kind_in_one_file() -> None:
    """Another kind in between, or another file, does not change them; more documents count on."""
    resource = MAPPING.removeprefix("resources:\n")
    users = resource.replace("services", "users").replace(".id", ".email")
    more = MAPPING.replace(".id", ".name")
    catalog = loaded(
        {
            "mappings/a.yaml": MAPPING + users + resource.replace(".id", ".x") + "---\n" + more,
            "mappings/b.yaml": MAPPING,
        }
    )
    assert [rule.id for rule in catalog.rules] == [
        "mappings/a.yaml#services[0]",
        "mappings/a.yaml#users[0]",
        "mappings/a.yaml#services[1]",
        "mappings/a.yaml#services[2]",
        "mappings/b.yaml#services[0]",
    ]


@pytest.mark.parametrize(
    ("expression", "severity"),
    [
        ("'\"https://x\"'", None),
        ("'\"x\"'", Severity.ERROR),
        ("'null'", None),
        (".name", None),
        (".teams", Severity.WARNING),
        ("'.teams // []'", None),
        ("'.a, .teams'", None),
        ("'if .a then .teams else .b end'", None),
        ("'\"\\(.teams)\"'", None),
        ("'[.id]'", Severity.WARNING),
        ("'{a: 1}'", Severity.WARNING),
        ("'.teams[0].html_url'", None),
        ("'.a | test(\"x\")'", Severity.WARNING),
        ("'reduce .teams[] as $x (null; .a)'", None),
    ],
)
def test_only_evident_types_are_complained_about(expression: str, severity: Severity | None) -> None:
    """For a property of type text: constants are errors, evident shapes are warnings, the rest is left to the run."""
    text = mapping(properties="").replace("properties: \n", f"properties:\n            url: {expression}\n")
    _, diagnostics = checked({"mappings/m.yaml": text})
    assert [d.severity for d in diagnostics] == ([severity] if severity else [])


# --- git -------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[git.Repo]:
    """A repository whose first commit holds the starter under `team/catalog`, with a link and a broken file."""
    folder = tmp_path / "team" / "catalog"
    shutil.copytree(STARTER, folder)
    shutil.copytree(HERE / "broken" / "jq-syntax" / "catalog" / "mappings", folder / "mappings" / "broken")
    (folder / "mappings" / "link.yaml").symlink_to("pagerduty.yaml")
    (folder / "README.md").write_text("not a catalog file")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.yaml").write_text("a: [")
    with git.Repo.init(tmp_path) as repo:
        with repo.config_writer() as config:
            config.set_value("user", "name", "test")
            config.set_value("user", "email", "test@example.com")
        repo.git.add("-A")
        repo.git.commit("-m", "first")
        yield repo


def test_a_commit_reads_as_the_same_tree_on_disk(repository: git.Repo) -> None:
    """The same diagnostics, errors included; and without errors the same catalog, but for the commit it stands on."""
    root = _root(repository)
    on_disk = check_catalog(root)
    assert on_disk == check_catalog(root, ref="HEAD")
    assert "PD108" in codes(list(on_disk[1]))
    shutil.rmtree(root / "mappings" / "broken")
    repository.git.commit("-am", "mended")
    mended = load_catalog(root)
    assert load_catalog(root, ref="HEAD") == replace(mended, commit=repository.head.commit.hexsha)
    assert on_disk == check_catalog(root, ref="HEAD~1")


def test_an_older_commit_is_read_even_if_the_folder_is_gone(repository: git.Repo) -> None:
    """The folder is looked up in the commit, not on disk."""
    root = _root(repository)
    _, before = check_catalog(root)
    shutil.rmtree(root)
    assert check_catalog(root, ref="HEAD")[1] == before
    assert [d.detail for d in check_catalog(root)[1]] == [f"there is no folder {root}"]


@pytest.mark.parametrize("ref", ["nowhere", "--help", "", "HEAD~99", "HEAD:team", "0" * 40])
def test_a_commit_that_is_not_there_is_a_diagnostic(repository: git.Repo, ref: str) -> None:
    """Whatever is given in its place."""
    with pytest.raises(CatalogError) as raised:
        load_catalog(_root(repository), ref=ref)
    assert codes(list(raised.value.diagnostics)) == ["PD100"]


def test_a_commit_without_the_catalog_is_a_diagnostic(repository: git.Repo) -> None:
    """Another folder of the same repository."""
    _, diagnostics = check_catalog(_root(repository).parent / "other", ref="HEAD")
    assert [d.detail for d in diagnostics] == ["HEAD has no folder other"]


def test_outside_git_a_commit_is_a_diagnostic(tmp_path: Path) -> None:
    """And there is no revision."""
    shutil.copytree(STARTER, tmp_path / "catalog")
    _, diagnostics = check_catalog(tmp_path / "catalog", ref="HEAD")
    assert codes(list(diagnostics)) == ["PD100"]
    assert catalog_revision(tmp_path / "catalog") == (None, False, "")


def test_the_revision_is_dirty_when_a_catalog_file_differs(repository: git.Repo) -> None:
    """New files count, files outside the catalog do not."""
    root, commit = _root(repository), repository.head.commit.hexsha
    (root.parent / "other.txt").write_text("x")
    assert catalog_revision(root) == (commit, False, "")
    (root / "blueprints" / "new.yaml").write_text("x")
    assert catalog_revision(root) == (commit, True, "")


def test_what_git_refuses_is_told(repository: git.Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the folder is often somebody else's: then git tells nothing, and says what to do."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = catalog_revision(_root(repository))
    assert (found.commit, "safe.directory" in found.problem) == (None, True)


def _root(repository: git.Repo) -> Path:
    from pathlib import Path as _Path

    return _Path(repository.working_dir) / "team" / "catalog"


# --- cost ------------------------------------------------------------------------------------------------------

_PROBE = """
import sys
from pathlib import Path
import pdsync.catalog, pdsync.catalog.starter
before = set(sys.modules)
catalog, _ = pdsync.catalog.check_catalog(Path(sys.argv[1]))
assert catalog
print(*(name for name in ("ruamel", "pydantic", "jq", "git") if name in before))
print(*(name for name in ("git", "httpx", "rich", "asyncio", "msgspec", "orjson") if name in sys.modules))
"""


def test_checking_imports_what_it_needs_when_it_needs_it() -> None:
    """Importing the package is cheap for other commands, and `validate` never imports git."""
    done = subprocess.run([sys.executable, "-c", _PROBE, str(STARTER)], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"


def test_the_digest_is_of_names_and_bytes() -> None:
    """Another name for the same bytes is another tree."""
    one, same, other = (
        loaded({name: SERVICE.replace("service", "b")}).tree
        for name in ("blueprints/a.yaml",) * 2 + ("blueprints/b.yaml",)
    )
    assert (one == same, one == other) == (True, False)


def test_parts_may_be_added_to_a_blueprint_of_ports_that_the_policy_names() -> None:
    """Only then, and only in the environment that says so; what else it has is Port's to know."""
    user = {"identifier": "_user", "title": "User", "schema": {"properties": {"onCall": {"type": "boolean"}}}}
    files: dict[str, str | bytes] = {
        "pdsync.yaml": "name: t\nenvironments: {people: {policy: {system_blueprints: [_user]}}}\n",
        "blueprints/user.json": json.dumps(user),
        "mappings/m.yaml": MAPS_USERS,
    }
    assert {one.code for one in checked(files)[1] if one.severity is Severity.ERROR} == {"PD133"}
    catalog = loaded(files, "people")
    assert "_user" in catalog.blueprints
    assert list(catalog.rules[0].fields) == ["properties.onCall", "properties.status"]


MAPS_USERS = """\
resources:
  - kind: users
    selector: {query: "true"}
    port:
      entity:
        mappings:
          identifier: .email
          blueprint: '"_user"'
          properties: {onCall: "true", status: '"Active"'}
"""
