"""Existing Microkubes services run unchanged: the examples from the documentation of its library, verbatim."""

import importlib
from contextlib import contextmanager
from threading import local

import pytest
from flask import Flask

import security
from tests.fakes.kong.fake_kong import FakeKong, running

FLASK_SERVICE = """
import os
from flask import Flask
from microkubes.gateway import KongGatewayRegistrator
from microkubes.security import FlaskSecurity


app = Flask(__name__)
registrator = KongGatewayRegistrator(os.environ.get("API_GATEWAY_URL", "http://localhost:8001"))  # Use the Kong registrator for Microkubes

# set up a security chain
sec = (FlaskSecurity().
        keys_dir("./keys").   # set up a key-store that has at least the public keys from the platform
        jwt().                # Add JWT support
        oauth2().             # Add OAuth2 support
        build())              # Build the security for Flask




# Self-registration on the API Gateway must be the first thing we do when running this service.
# If the registration fails, then the whole service must terminate.
registrator.register(name="hello-service",                  # the service name.
                     paths=["/"],                           # URL pattern that Kong will use to redirect requests to out service
                     host="hello-service.service.consul",   # The hostname of the service.
                     port=5000)                             # Flask default port. When redirecting, Kong will call us on this port.


@app.route("/hello")
@sec.secured   # this action is now secure
def hello():
    auth = sec.context.get_auth()  # get the Auth from the security context
    return "Hello %s from Flask service on Microkubes" % auth.username
"""  # noqa: E501  (verbatim)

OPEN_SERVICE = """
import os
from flask import Flask
from microkubes.gateway import KongGatewayRegistrator


app = Flask(__name__)
registrator = KongGatewayRegistrator(os.environ.get("API_GATEWAY_URL", "http://localhost:8001"))

registrator.register(name="hello-service",
                     paths=["/"],
                     host="hello-service.service.consul",
                     port=5000)


@app.route("/hello")
def hello():
    return "Hello from Flask service on Microkubes"
"""

# Two misprints are corrected: the class is JWTProvider, and execute takes the request and the response.
HAND_BUILT = """
from microkubes.security import (SecurityChain,
                                 ThreadLocalSecurityContext,
                                 JWTProvider,
                                 is_authenticated_provider,
                                 KeyStore)

store = KeyStore(dir_path='./keys')  # we need key store with the RSA keys so we can validate the JWT signature
context = ThreadLocalSecurityContext()  # Keeps the Auth in thread-local, which is fine for tests

chain = (SecurityChain(context).
         provider(JWTProvider(key_store=store)).  # Security chain with JWT auth
         provider(is_authenticated_provider))  # check if the request has been authenticated
"""


@pytest.fixture
def kong(monkeypatch, keys_dir, tmp_path):
    (tmp_path / "keys").symlink_to(keys_dir)
    monkeypatch.chdir(tmp_path)
    with running(FakeKong()) as gateway:
        monkeypatch.setenv("API_GATEWAY_URL", gateway.url)
        yield gateway


@contextmanager
def executed(source: str):
    names: dict = {"__name__": "service_under_test"}
    exec(compile(source, "service_under_test.py", "exec"), names)
    yield names


def test_secured_flask_example_runs_verbatim(kong, bearer):
    with executed(FLASK_SERVICE) as names:
        client = names["app"].test_client()
        assert client.get("/hello", headers=bearer).text == "Hello ann@example.com from Flask service on Microkubes"
        assert client.get("/hello").status_code == 401
    assert kong.routes["hello-service"]["paths"] == ["/"]
    assert (kong.services["hello-service"]["host"], kong.services["hello-service"]["port"]) == (
        "hello-service.service.consul", 5000,
    )  # fmt: skip


def test_open_flask_example_runs_verbatim(kong):
    with executed(OPEN_SERVICE) as names:
        assert names["app"].test_client().get("/hello").status_code == 200
    assert "hello-service" in kong.services


def test_chain_without_a_builder_runs(kong, make_token):
    from microkubes.security.chain import Request, Response, SecurityException

    class FakeRequest:
        headers = {"Authorization": f"Bearer {make_token()}"}  # noqa: RUF012

    with executed(HAND_BUILT) as names:
        names["chain"].execute(Request(FakeRequest()), Response())
        assert names["context"].get_auth().username == "ann@example.com"
        response = Response()
        FakeRequest.headers = {}
        try:
            names["chain"].execute(Request(FakeRequest()), response)
        except SecurityException as err:
            response.status_code = err.status_code
            response.write_json({"code": err.status_code, "message": str(err)})
        assert response.status_code == 401
        assert response.get_response_body() == '{"code": 401, "message": "authentication required"}'
        assert names["context"].get_auth() is None


NAMES = {
    "microkubes.gateway": ["Registrator", "KongGatewayRegistrator", "RegistrationException"],
    "microkubes.security": [
        "SecurityContext", "ThreadLocalSecurityContext", "ContextvarsSecurityContext", "Auth", "SecurityChain",
        "SecurityException", "BreakChain", "is_authenticated_provider", "public_routes_provider", "Key", "KeyStore",
        "KeyException", "JWTProvider", "OAuth2Provider", "FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError",
        "Security", "ACLProvider", "Request", "Response",
    ],
    "microkubes.security.auth": ["Auth", "SecurityContext", "ThreadLocalSecurityContext", "ContextvarsSecurityContext"],
    "microkubes.security.chain": [
        "SecurityChain", "SecurityException", "BreakChain", "Request", "Response", "is_authenticated_provider",
        "public_routes_provider",
    ],
    "microkubes.security.keys": ["Key", "KeyStore", "KeyException"],
    "microkubes.security.jwt": ["JWTProvider"],
    "microkubes.security.oauth2": ["OAuth2Provider"],
    "microkubes.security.acl": ["ACLProvider"],
    "microkubes.security.flask": ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"],
    "microkubes.tools": ["add_healthcheck", "add_version_endpoint", "read_config"],
}  # fmt: skip


@pytest.mark.parametrize("module", NAMES)
def test_public_names_are_importable(module):
    found = importlib.import_module(module)
    for name in NAMES[module]:
        assert getattr(found, name) is not None
        assert name in found.__all__
    if module == "microkubes.security":
        for name in NAMES[module]:
            assert getattr(security, name) is getattr(found, name)


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="JWTSProvider"):
        _ = importlib.import_module("microkubes.security").JWTSProvider


def test_any_local_context_can_hold_an_identity():
    from microkubes.security.auth import Auth, SecurityContext, clear_auth, get_auth, has_auth, set_auth

    storage = local()
    assert not has_auth(storage)
    set_auth(storage, Auth(user_id="1", username="ann"))
    assert SecurityContext(local_context=storage).get_auth() == get_auth(storage) == storage.microkubes_auth
    clear_auth(storage)
    assert storage.microkubes_auth is None
    storage.microkubes_auth = "not an identity"
    assert get_auth(storage) is None


def test_lists_of_an_identity_equal_lists_and_are_immutable(make_token, keys_dir):
    from microkubes.security import JWTProvider, KeyStore, Request, Response, ThreadLocalSecurityContext

    class FakeRequest:
        headers = {"Authorization": f"Bearer {make_token(roles='user,test', organizations='org1,org2')}"}  # noqa: RUF012

    context = ThreadLocalSecurityContext()
    JWTProvider(KeyStore(keys_dir))(context, Request(FakeRequest()), Response())
    auth = context.get_auth()
    assert auth.roles == ["user", "test"]
    assert auth.roles != ["user"]
    assert auth.organizations == ["org1", "org2"]
    assert auth.namespaces == []
    assert auth.roles + ["more"] == ["user", "test", "more"]
    with pytest.raises(AttributeError):
        auth.roles.append("admin")


def test_order_of_names_does_not_affect_equality_or_hash():
    from microkubes.security import Auth

    one, other = (Auth("1", "ann", roles=names, namespaces=names[::-1]) for names in (["a", "b"], ["b", "a"]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Auth("1", "ann", roles=["a"])
    assert one != "ann"


@pytest.mark.parametrize("config", [{}, None])
def test_saml_error_explains_the_alternative(config):
    from microkubes.security import FlaskSecurity, FlaskSecurityError

    with pytest.raises(FlaskSecurityError, match=r"SAML is not supported.*jwt\(\) or oauth2\(\)"):
        FlaskSecurity().saml(config)


def test_acl_runs_after_authentication(keys_dir, bearer):
    from microkubes.security import FlaskSecurity

    app = Flask(__name__)
    policies = {"policies": [{"id": "p", "subjects": ["ann@example.com"], "resources": ["/mine"]}]}
    sec = FlaskSecurity().keys_dir(keys_dir).jwt().acl(policies).build()
    for path in ("/mine", "/theirs"):
        app.add_url_rule(path, path, sec.secured(lambda: "in"))
    get = app.test_client().get
    assert [get(path, headers=bearer).status_code for path in ("/mine", "/theirs")] == [200, 403]
    assert get("/mine").status_code == 401


def test_oauth2_with_its_keys_option_needs_no_key_store(keys_dir, bearer):
    from microkubes.security import FlaskSecurity, KeyStore

    sec = FlaskSecurity().oauth2(keys=KeyStore(keys_dir)).build()
    app = Flask(__name__)
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    assert app.test_client().get("/", headers=bearer).status_code == 200


def test_tools_add_endpoints_and_read_configuration(tmp_path):
    from microkubes.tools import add_healthcheck, add_version_endpoint, read_config

    (tmp_path / "config.json").write_text('{"version": "1.2.3"}')
    app = Flask(__name__)
    add_healthcheck(app)
    add_version_endpoint(app, read_config(str(tmp_path / "config.json")))
    assert app.test_client().get("/healthcheck").status_code == 200
    assert app.test_client().get("/version").json == {"version": "1.2.3"}
    with pytest.raises(ValueError, match="no version"):
        add_version_endpoint(app, {})


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), ("{", "not JSON"), ("[]", "JSON object")])
def test_unreadable_configuration_is_named(tmp_path, content, reason):
    from microkubes.tools import read_config

    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json.*{reason}"):
        read_config(file)
