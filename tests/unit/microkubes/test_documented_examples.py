"""The examples in the documentation of the Microkubes library run as written."""

from types import SimpleNamespace

import pytest

from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.seeds import PRELUDE, code_blocks, commented_statement

OPEN, REGISTRATION, CHAIN, SECURED = code_blocks("microkubes-python", "python")
REGISTERED = {"name": "hello-service", "host": "hello-service.service.consul", "port": 5000}


@pytest.fixture(params=["3.9.3", "0.14.1"])
def kong(request, monkeypatch, keys_dir, tmp_path):
    """A gateway of today, and the one that Microkubes ships; the current folder has `keys`."""
    (tmp_path / "keys").symlink_to(keys_dir)
    monkeypatch.chdir(tmp_path)
    with running(FakeKong(request.param)) as gateway:
        monkeypatch.setenv("API_GATEWAY_URL", gateway.url)
        yield gateway


def run(example: str) -> dict:
    names: dict = {"__name__": "example"}
    exec(PRELUDE, names)
    exec(compile(example, "example.py", "exec"), names)
    return names


def registered(kong: FakeKong) -> dict:
    if kong.legacy:
        api = kong.entities["apis"]["hello-service"]
        assert api["uris"] == ["/"]
        host, _, port = api["upstream_url"].removeprefix("http://").partition(":")
        return {"name": "hello-service", "host": host, "port": int(port)}
    assert kong.routes["hello-service"]["paths"] == ["/"]
    return {name: kong.services["hello-service"][name] for name in REGISTERED}


def test_flask_example_registers_and_serves(kong):
    client = run(OPEN)["app"].test_client()
    assert client.get("/hello").text == "Hello from Flask service on Microkubes"
    assert registered(kong) == REGISTERED


def test_registration_example_registers(kong):
    run(REGISTRATION)
    assert registered(kong) == REGISTERED


def test_secured_flask_example_admits_tokens_of_the_platform(kong, bearer):
    client = run(SECURED)["app"].test_client()
    assert client.get("/hello", headers=bearer).text == "Hello ann@example.com from Flask service on Microkubes"
    assert client.get("/hello").status_code == 401
    assert registered(kong) == REGISTERED


def test_chain_example_finds_no_identity_outside_of_a_request(kong):
    assert run(CHAIN)["auth"] is None


def test_chain_example_processes_requests_as_its_comments_show(kong, bearer):
    from microkubes.security.chain import Request, Response

    names = run(CHAIN)
    statement = commented_statement(CHAIN)
    assert statement.startswith("try:\n    chain.execute(context, request, response)\n")
    names |= {"request": Request(SimpleNamespace(headers=bearer)), "response": Response()}
    exec(statement, names)
    assert names["response"].status_code == 200
    assert names["context"].get_auth().username == "ann@example.com"
    names |= {"request": Request(SimpleNamespace(headers={})), "response": Response()}
    exec(statement, names)
    assert names["response"].status_code == 401
    assert names["response"].get_response_body() == '{"code": 401, "message": "authentication required"}'
    assert names["context"].get_auth() is None
