"""No secret of a plugin's configuration is shown: not in a diff, a message of the gateway or the log."""

import json
import logging

import pytest

from service.gateway.definition import Definition, Plugin
from service.gateway.diff import Change
from service.gateway.instance import Instance
from service.gateway.kong import KongGatewayRegistrator
from service.gateway.masking import masked, without_secrets_of
from service.gateway.registrator import RegistrationException
from tests.fakes.kong.fake_kong import FakeKong, running

SECRET = "hunter2-s3cret"
# The places in which the plugins that Kong ships, and some that others wrote, have secrets.
CONFIGS = [
    {"add": {"headers": [f"authorization: Bearer {SECRET}", f"x-api-key:{SECRET}"]}},
    {"replace": {"querystring": [f"sig:{SECRET}"], "body": [f"pw:{SECRET}"]}},
    {"rename": {"unknown": {"deeper": [{"still": SECRET}]}}},
    {"http_endpoint": f"https://user:{SECRET}@logs.example.com/x"},
    {"http_endpoint": f"https://hooks.example.com/{SECRET}"},
    {"endpoint": f"https://logs.example.com/?api={SECRET}"},
    {"headers": {"X-Api-Key": SECRET, "policy": SECRET}},
    {"origins": [f"https://user:{SECRET}@example.com"]},
    {"redis": {"host": f"redis://user:{SECRET}@cache", "password": SECRET, "username": SECRET}},
    {"redis_password": SECRET, "client_secret": [SECRET], "aws_key": SECRET, "session": SECRET},
    {"functions": [f"return '{SECRET}'"]},
    {"anonymous": SECRET},
    {"keys": {SECRET: True}, "tokens": [{SECRET: 1}]},
]


@pytest.mark.parametrize("config", CONFIGS)
def test_no_text_that_may_be_a_secret_is_shown(config):
    other = json.loads(json.dumps(config).replace(SECRET, f"0ld-{SECRET}"))
    for change in (
        Change("create", "plugin x", {"config": (None, config)}),
        Change("change", "plugin x", {"config": (other, config)}),
        Change("change", "plugin x", {"config": (config, None)}),
        Change("change", "plugin x", {"config": (None, other)}),
    ):
        assert SECRET not in str(change)


@pytest.mark.parametrize("number", [12345678, 1234.5678])
def test_numbers_are_hidden_only_below_names_that_suggest_a_secret(number):
    config = {"password": number, "headers": {"X-Pin": number}, "pins": [number]}
    assert str(number) not in str(masked("config", config))
    assert masked("config", {"minute": number, "redis": {"port": number}}) == {
        "minute": number, "redis": {"port": number},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", {"minute": 60, "policy": "local", "hide_credentials": True, "header_name": "X-Request-ID"}),
        ("config", {"key_claim_name": "kid", "claims_to_verify": ["exp"], "anonymous": None, "secret": ""}),
        ("config", {"origins": ["https://example.com"], "redis": {"host": "cache", "port": 6379}}),
        ("config", {"client_secret": "{vault://env/client-secret}"}),
        ("paths", ["/loaner"]),
        ("tags", ["managed-by:loaner"]),
        ("host", "loaner.service.consul"),
        ("healthchecks", {"active": {"type": "http", "http_path": "/ready", "healthy": {"http_statuses": [200]}}}),
    ],
)
def test_what_holds_no_secret_is_shown(name, value):
    assert masked(name, value) == value


def test_a_difference_of_hidden_values_is_visible():
    change = Change("change", "plugin x", {"config": ({"secret": "a-secret"}, {"secret": "b-secret"})})
    assert "config: {'secret': '***'} -> {'secret': '***'} (hidden values differ)" in str(change)


def test_headers_of_a_route_and_passwords_of_a_host_are_hidden():
    assert masked("headers", {"x-token": [SECRET]}) == "***"
    assert masked("upstream_url", f"http://user:{SECRET}@a:1") == "http://***@a:1"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_message_of_the_gateway_does_not_quote_a_secret(config):
    reply = {"message": f"schema violation (config: {json.dumps(config)[1:-1]})", "fields": {"config": config}}
    shown = without_secrets_of({"name": "x", "config": config}, reply)
    assert SECRET not in str(shown)
    assert shown["message"].startswith("schema violation (config: ")


def test_an_error_of_the_gateway_is_shown_without_the_secret_that_it_quotes():
    plugin = Plugin("http-log", {"config": {"http_endpoint": f"https://u:{SECRET}@logs"}})
    with running(FakeKong()) as kong:
        registrator = KongGatewayRegistrator(kong.url, 5)
        declared = Definition("loaner", ("/loaner",), "loaner.service.consul", 5555, plugins=[plugin])
        registrator.reconcile(Definition("loaner", ("/loaner",), "loaner.service.consul", 5555))
        answer = kong.answer

        def reject(method, path, body):
            if method == "POST" and path.endswith("/plugins"):
                return 400, {"message": f"invalid url: {body['config']['http_endpoint']}", "code": 2}
            return answer(method, path, body)

        kong.answer = reject
        with pytest.raises(RegistrationException) as raised:
            registrator.reconcile(declared)
    assert "answered 400: invalid url: ***" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_a_repair_is_logged_without_secrets(caplog):
    plugin = Plugin("request-transformer", {"config": {"add": {"headers": [f"authorization: Bearer {SECRET}"]}}})
    declared = Definition("loaner", ("/loaner",), "loaner.service.consul", 5555, plugins=[plugin])
    with running(FakeKong()) as kong, caplog.at_level(logging.INFO):
        registrator = KongGatewayRegistrator(kong.url, 5)
        registrator.declare(declared)
        [found] = kong.entities["plugins"].values()
        found["config"] = {"add": {"headers": [f"authorization: Bearer 0ld-{SECRET}"]}}
        instance = Instance(registrator, lambda: declared, "127.0.0.1", 1, lambda: True, 0.05)
        instance.start()
        try:
            deadline = 200
            while "repaired a difference" not in caplog.text and deadline:
                deadline -= 1
                instance._stop.wait(0.05)
        finally:
            instance.deregister()
    assert "~ plugin request-transformer config: {'add': {'headers': '***'}} -> " in caplog.text
    assert SECRET not in caplog.text
