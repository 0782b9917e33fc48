"""The declaration as a file for Kong without a database and for decK, and its comparison with such a gateway."""

import pytest
import yaml

from service.gateway.declarative import FORMATS, export
from service.gateway.definition import Definition, Plugin
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException
from tests.fakes.kong.declarative import load
from tests.fakes.kong.fake_kong import FakeKong, running

PLUGINS = [
    Plugin("rate-limiting", {"enabled": True, "config": {"minute": 600, "policy": "local"}}),
    Plugin("jwt", {"enabled": True, "config": {"key_claim_name": "kid"}}),
]
PEM = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
PLAIN = Definition("loaner", ("/loaner",), "loaner.service.consul", 5555)
FULL = Definition(
    "loaner", ("/loaner", "~/v[0-9]+/loaner"), "unused", 5555, health_path="/ready", plugins=PLUGINS,
    jwt_keys={"kid-1": ("RS256", PEM)},
)  # fmt: skip
TARGETS = ["10.0.0.1:5555", "10.0.0.2:5555"]
GATEWAYS = {"3.0": "3.9.3", "2.1": "2.8.5", "1.1": "2.8.5"}  # the gateway that reads each version of the format


def changes_of(kong: FakeKong, declared: Definition) -> list[str]:
    state = KongGatewayRegistrator(kong.url, 5).inspect(declared, lenient=True)
    return [f"{change.action} {change.what}" for change in state.changes]


@pytest.mark.parametrize("format_version", FORMATS)
@pytest.mark.parametrize(("declared", "targets"), [(PLAIN, []), (FULL, TARGETS)], ids=["plain", "full"])
def test_a_gateway_without_a_database_that_has_the_file_is_as_declared(format_version, declared, targets):
    document = yaml.safe_load(export(declared, format_version, "kong", targets))
    assert document["_format_version"] == format_version
    with running(FakeKong(GATEWAYS[format_version])) as kong:
        load(kong, document)
        assert changes_of(kong, declared) == []
        assert list(kong.targets.get("loaner.upstream", {})) == targets
        assert kong.writes == []


def test_differences_from_a_gateway_without_a_database_are_shown():
    with running(FakeKong(database="off")) as kong:
        assert changes_of(kong, PLAIN) == ["create service loaner", "create route loaner"]
    with running(FakeKong()) as kong:
        load(kong, yaml.safe_load(export(FULL, "3.0", "kong", TARGETS)))
        kong.routes["loaner"]["paths"] = ["/elsewhere"]
        [limits] = [found for found in kong.entities["plugins"].values() if found["name"] == "rate-limiting"]
        limits["config"]["minute"] = 60
        kong.jwt_keys.clear()
        assert changes_of(kong, FULL) == ["change plugin rate-limiting", "create jwt key kid-1", "change route loaner"]


@pytest.mark.parametrize("act", ["declare", "unregister", "reconcile"])
def test_a_gateway_without_a_database_rejects_writes_and_the_message_says_what_to_do(act):
    with running(FakeKong(database="off")) as kong:
        registrator = KongGatewayRegistrator(kong.url, 5)
        with pytest.raises(RegistrationException, match=r"load the output of `python service\.py gateway export`"):
            getattr(registrator, act)(PLAIN)
        assert registrator.version() == "3.9.3 without a database"
        assert kong.writes == []


@pytest.mark.parametrize(("format_version", "path"), [("3.0", "~/v[0-9]+/loaner"), ("2.1", "/v[0-9]+/loaner")])
def test_a_regular_expression_has_the_notation_of_the_format(format_version, path):
    document = yaml.safe_load(export(FULL, format_version, "kong", TARGETS))
    assert document["services"][0]["routes"][0]["paths"] == ["/loaner", path]


def test_only_the_file_for_deck_selects_the_own_entities():
    for_kong, for_deck = (yaml.safe_load(export(PLAIN, "3.0", reader)) for reader in ("kong", "deck"))
    assert for_deck.pop("_info") == {"select_tags": ["managed-by:loaner"]}
    assert for_deck == for_kong


def test_every_entity_for_deck_has_the_selected_tag():
    def untagged(value):
        if isinstance(value, dict):
            is_entity = {"name", "username", "key", "target"} & value.keys()
            if is_entity and "managed-by:loaner" not in value["tags"]:
                yield value
            value = list(value.values())
        for inner in value if isinstance(value, list) else ():
            yield from untagged(inner)

    assert list(untagged(yaml.safe_load(export(FULL, "3.0", "deck", TARGETS)))) == []


def test_the_file_repeats_values_in_full_and_shows_keys_line_by_line():
    text = export(FULL, "3.0", "kong", TARGETS)
    assert "&id" not in text
    assert "rsa_public_key: |\n      -----BEGIN PUBLIC KEY-----\n" in text


def test_an_upstream_needs_targets_and_targets_need_an_upstream():
    with pytest.raises(RegistrationException, match="--target HOST:PORT"):
        export(FULL, "3.0", "kong")
    with pytest.raises(RegistrationException, match="needs SERVICE_DISCOVERY=upstream"):
        export(PLAIN, "3.0", "kong", TARGETS)
