"""Keys and addresses do not reach the snapshot, unless a mapping spells them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdsync.model import Collection, Expression, Query, Snapshot
from pdsync.privacy import ADDRESS, ANY, KEYS, Cleaner, is_secret, still_whole
from tests.builders import HERE, rule

USERS = Query("services")
SINGLE = st.sampled_from([*KEYS, ADDRESS, "id", "type", "name"])
NAMES = SINGLE | st.tuples(SINGLE, SINGLE).map("".join)  # one that runs into another one must not hide what follows
VALUES = st.recursive(
    st.none() | st.text(max_size=5) | st.sampled_from(["phone_contact_method", "user"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


def cleaned(value: Any, **fields: str) -> Any:
    made = replace(rule(paths=()), fields={path: Expression(text, HERE) for path, text in fields.items()})
    return json.loads(Cleaner([made]).clean(made.kind, json.dumps(value).encode()))


def left(name: str) -> dict[str, int]:
    """What is there under the beginning of a name, unless that is a name as well."""
    return {} if name[:-1] in KEYS else {name[:-1]: 3}


def keys_of(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    return set(value).union(*map(keys_of, value.values())) if isinstance(value, dict) else set()


@pytest.mark.parametrize("name", KEYS)
def test_each_key_goes(name: str) -> None:
    """Every one of the names is found by itself, and none that only begins or ends like it."""
    around = {} if is_secret(name) else {f"{name}_": 1, f"_{name}": 2}
    assert cleaned({name: "x", **around, name[:-1]: 3}) == {**around, **left(name)}


SECRETS = (
    *("password", "snow_password", "dbPassword", "DB_PASSWORD", "passwd", "secret_key", "awsSecretAccessKey"),
    *("token", "tokens", "api_token", "apiToken", "API-TOKEN", "authtoken", "bearer_token", "apikey", "api_key"),
    *("X-Api-Key", "Authorization", "Proxy-Authorization", "bearer", "credentials", "private_key", "sshPrivateKey"),
    *("passphrase", "webhook_url", "incomingWebhookUrl", "access_key", "snow_user"),
)
HARMLESS = (
    *("token_url", "token_type", "secrets_schema", "credential_id", "password_changed_at", "secretary"),
    *("tokenized", "broken", "webhook", "webhook_subscription", "incident_key", "oauth_client_id"),
    *("search_keywords", "unauthorized_count", "custom_fields", "key", "data_endpoint", "api_key_expiry"),
)


@pytest.mark.parametrize("name", [*SECRETS, "Authentication Token", "API Key"])
def test_what_is_called_like_a_secret_goes(name: str) -> None:
    """By the words in its name, in any case, as a field and as what an input or a header is called."""
    named = {"name": name, "type": "x"}, {"key": name}
    assert cleaned([{name: "x"}, {"in": {name: ["x"]}}]) == [{}, {"in": {}}]
    if name not in KEYS:
        assert [cleaned([{**each, "value": "x"}]) for each in named] == [[each] for each in named]
    assert cleaned([{name: "x"}], it=f'.["{name}"]') == [{name: "x"}]


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_told_of_a_secret_stays(name: str) -> None:
    """Of which kind it is and where it is asked for is none, nor is a word that only begins like one."""
    record = [{name: "x", "token": None}, {"name": name, "value": "x"}, {"text": "token"}]
    assert cleaned(record) == record


def test_how_many_there_are_and_whether_is_no_secret() -> None:
    """A number of tokens that were used, or that there is a password, stays; a password of digits does not."""
    told = {"prompt_tokens": 7, "has_password": True}
    assert cleaned({**told, "db_password": 1234}) == told


def test_where_notifications_and_extensions_send_to_goes() -> None:
    """A number goes whatever the type of the notification; what an extension calls is in its configuration."""
    record = [{"notification": {"type": "phone", "address": "5550100"}}, {"config": {"url": "https://h/key", "a": 1}}]
    assert cleaned(record) == [{"notification": {"type": "phone"}}, {"config": {"a": 1}}]


def test_a_secret_is_found_however_deep_it_stands() -> None:
    """As deep as JSON is read."""
    deep: Any = {"token": "x"}
    for _ in range(600):
        deep = [deep]
    assert b"token" not in Cleaner([]).clean("services", json.dumps(deep).encode())


@given(VALUES)
def test_no_key_is_left(value: Any) -> None:
    """However deep it stands, nothing under one of the names stays; everything else does."""
    left = keys_of(cleaned(value))
    assert left.isdisjoint(KEYS)
    assert "name" not in keys_of(value) or "name" in left or any(k in keys_of(value) for k in KEYS)


def test_the_address_of_a_contact_method_goes_and_others_stay() -> None:
    """A phone number goes with its country code; the address of something else is not one."""
    phone = {"type": "phone_contact_method", "label": "Mobile", "address": "5550100", "country_code": 1}
    place = {"type": "office", "address": "Main Street"}
    assert cleaned([phone, place]) == [{"type": "phone_contact_method", "label": "Mobile"}, place]


def test_where_webhooks_go_is_taken_out_and_other_addresses_stay() -> None:
    """It may hold a key; that of a status page does not."""
    webhook = {"delivery_method": {"type": "http_delivery_method", "id": "P1", "url": "https://ingest.example/key"}}
    page = {"type": "status_page", "url": "https://status.example"}
    left = {"delivery_method": {"type": "http_delivery_method", "id": "P1"}}
    assert cleaned([webhook, page]) == [left, page]
    assert cleaned([webhook, page], at=".delivery_method.url") == [webhook, page]


def test_what_a_mapping_spells_stays() -> None:
    """A field that an expression of the kind names is mapped by the user, and only that one."""
    record = {"integration_key": "k", "routing_key": "r"}
    assert cleaned(record, key=".integration_key") == {"integration_key": "k"}


def test_who_maps_an_object_that_holds_nothing_else_maps_all_of_it() -> None:
    """It would be empty otherwise; with a field of it spelled, that one alone stays."""
    bridge = {"conference_number": "+1-555-555-0100", "conference_url": "https://meet.example"}
    record = {"conference_bridge": bridge}
    assert cleaned(record, bridge=".conference_bridge") == record
    assert cleaned(record, at=".conference_bridge.conference_url") == {
        "conference_bridge": {"conference_url": "https://meet.example"}
    }
    assert cleaned(record, all=".") == {"conference_bridge": {}}
    assert cleaned(record, bridge=".conference_bridge", link=".conference_bridge.conference_url") == record


def test_a_mapping_may_spell_all_of_them() -> None:
    """Then there is nothing to look for."""
    record = dict.fromkeys(KEYS, "x")
    assert cleaned(record, **{name: f".{name}" for name in (*KEYS, ADDRESS, "url")}) == record


def test_a_record_without_private_fields_keeps_its_bytes() -> None:
    """Nothing is rewritten that need not be."""
    raw = b'{ "id" : "P1" }'
    assert Cleaner([rule()]).clean("services", raw) == raw


def test_a_record_that_goes_into_others_keeps_what_any_mapping_spells() -> None:
    """What one kind's mapping spells is taken out of the records of another, but only once they are put together."""
    cleaner = Cleaner([replace(rule(paths=()), fields={"key": Expression(".routing_key", HERE)})])
    raw = b'{"routing_key":"r","secret":"s"}'
    kept = cleaner.clean(ANY, raw)
    assert kept == b'{"routing_key":"r"}'
    assert (cleaner.is_done("services"), cleaner.is_done("teams")) == (True, False)
    assert (cleaner.clean("services", kept), cleaner.clean("teams", kept)) == (kept, b"{}")


def test_a_name_may_be_spelt_in_a_comment() -> None:
    """Where jq puts a name together, that is how it is declared."""
    assert cleaned({"secret": "s"}, made='.["sec" + "ret"]') == {}
    assert cleaned({"secret": "s"}, made='.["sec" + "ret"] # secret') == {"secret": "s"}


def test_a_changed_address_is_not_kept_in_an_audit_record() -> None:
    """There its name is a value, beside what it was and is; a field of that name elsewhere is something else."""
    changed = {"name": "address", "before_value": "5550100", "value": "5550199"}
    custom = {"name": "address", "value": "Main Street", "data_type": "string"}
    assert cleaned([changed, custom]) == [{"name": "address"}, custom]


def test_a_snapshot_that_lacks_what_is_read_now_is_known() -> None:
    """What was taken out of an earlier one is missed by a mapping that spells it; other kinds stay."""
    teams = Query("teams")
    taken = Snapshot("pd", "now", {q: Collection(q, ()) for q in (USERS, teams)})
    mapping = replace(rule(paths=()), fields={"key": Expression(".integration_key", HERE)})
    assert set(still_whole(taken, [mapping]).collections) == {teams}
    cleaner = Cleaner([mapping])
    assert (cleaner.left_in("services"), cleaner.left_in("teams")) == (("integration_key",), ())
    left_in = Snapshot("pd", "now", {USERS: Collection(USERS, (), private=cleaner.left_in("services"))})
    assert still_whole(left_in, [mapping]) == left_in
