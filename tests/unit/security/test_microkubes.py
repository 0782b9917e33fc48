"""The names that existing Microkubes services import, and what they expect of them."""

import importlib
from threading import local
from types import SimpleNamespace

import pytest
from flask import Flask

import security
from security.keys.generation import write_key_pair
from tests.fakes.certificates import write_certificate
from tests.fakes.kong.fake_kong import FakeKong, running

NAMES = {
    "microkubes.gateway": ["Registrator", "KongGatewayRegistrator", "RegistrationException"],
    "microkubes.security": [
        "SecurityContext", "ThreadLocalSecurityContext", "ContextvarsSecurityContext", "Auth", "SecurityChain",
        "SecurityException", "BreakChain", "is_authenticated_provider", "public_routes_provider", "Key", "KeyStore",
        "KeyException", "JWTProvider", "OAuth2Provider", "FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError",
        "Security", "ACLProvider", "Request", "Response", "JWTSProvider", "JWTSecurityProvider",
    ],
    "microkubes.security.auth": ["Auth", "SecurityContext", "ThreadLocalSecurityContext", "ContextvarsSecurityContext"],
    "microkubes.security.chain": [
        "SecurityChain", "SecurityException", "BreakChain", "Request", "Response", "is_authenticated_provider",
        "public_routes_provider",
    ],
    "microkubes.security.keys": ["Key", "KeyStore", "KeyException"],
    "microkubes.security.jwt": ["JWTProvider", "JWTSProvider", "JWTSecurityProvider"],
    "microkubes.security.oauth2": ["OAuth2Provider"],
    "microkubes.security.acl": ["ACLProvider"],
    "microkubes.security.flask": ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"],
    "microkubes.configuration": ["read_config"],
    "microkubes.tools": ["add_healthcheck", "add_version_endpoint", "read_config"],
}  # fmt: skip


@pytest.mark.parametrize("module", NAMES)
def test_public_names_are_importable(module):
    found = importlib.import_module(module)
    for name in NAMES[module]:
        assert getattr(found, name) is not None
        assert name in found.__all__


def test_names_are_those_of_security_or_extend_them():
    found = importlib.import_module("microkubes.security")
    assert set(security.__all__) <= set(found.__all__)
    for name in security.__all__:
        own, other = getattr(security, name), getattr(found, name)
        assert other is own or issubclass(other, own), name


@pytest.mark.parametrize("module", ["security", "microkubes.security"])
def test_unknown_name_raises_attribute_error(module):
    with pytest.raises(AttributeError, match=rf"'{module}' has no attribute 'Unknown'"):
        _ = importlib.import_module(module).Unknown


@pytest.mark.parametrize("name", ["JWTSProvider", "JWTSecurityProvider"])
def test_names_of_the_documentation_are_the_jwt_provider(name):
    found = importlib.import_module("microkubes.security")
    assert getattr(found, name) is found.JWTProvider


@pytest.fixture
def request_of_ann(bearer):
    from microkubes.security import Request

    return Request(SimpleNamespace(headers=bearer))


@pytest.fixture
def chain(keys_dir):
    from microkubes.security import JWTProvider, KeyStore, SecurityChain, ThreadLocalSecurityContext

    return SecurityChain(ThreadLocalSecurityContext()).provider(JWTProvider(KeyStore(keys_dir)))


def test_chain_context_is_an_argument_or_the_own_one(chain, request_of_ann):
    from microkubes.security import Response, ThreadLocalSecurityContext

    other = ThreadLocalSecurityContext()
    chain.execute(other, request_of_ann, Response())
    assert other.get_auth().username == "ann@example.com"
    assert chain.security_context.get_auth() is None
    chain.execute(request_of_ann, Response())
    assert chain.security_context.get_auth().username == "ann@example.com"
    chain.execute(req=request_of_ann, resp=Response())


def test_rejected_request_leaves_no_identity_in_the_given_context(chain, request_of_ann):
    from microkubes.security import Response, SecurityException, ThreadLocalSecurityContext

    def reject(context, req, resp):
        raise SecurityException("no", 403)

    other = ThreadLocalSecurityContext()
    chain.provider(reject)
    with pytest.raises(SecurityException, match="no"):
        chain.execute(other, request_of_ann, Response())
    assert not other.has_auth()


@pytest.mark.parametrize("count", [0, 1, 4])
def test_other_numbers_of_arguments_are_a_type_error(chain, count):
    with pytest.raises(TypeError):
        chain.execute(*[None] * count)


@pytest.fixture
def folder(tmp_path):
    write_key_pair(tmp_path, "own")
    (tmp_path / "own.pub").rename(tmp_path / "public.KEY")
    (tmp_path / "own").rename(tmp_path / "private.key")
    write_certificate(tmp_path / "pair.pem")
    _, mark, certificate = (tmp_path / "pair.pem").read_text().partition("-----BEGIN CERTIFICATE-----")
    (tmp_path / "platform.crt").write_text(mark + certificate.partition("-----BEGIN PRIVATE")[0])
    (tmp_path / "pair.pem").unlink()
    (tmp_path / "ignored.crt").write_text("this must be ignored")
    return tmp_path


def test_certificates_and_key_files_are_trusted_if_they_hold_a_public_key(folder):
    from microkubes.security import KeyStore

    store = KeyStore(dir_path=str(folder))
    assert set(store.keys) == set(store.verification_keys()) == {"public", "platform"}


def test_builder_uses_this_store(folder):
    from microkubes.security import FlaskSecurity

    assert set(FlaskSecurity().keys_dir(folder).key_store.keys) == {"public", "platform"}
    named = FlaskSecurity().use_key("issuer", folder / "platform.crt").use_key("own", folder / "private.key")
    assert set(named.key_store.verification_keys()) == {"issuer"}
    assert set(named.key_store.private_keys()) == {"own"}


def test_store_of_the_service_ignores_them(folder):
    assert not security.KeyStore(folder).keys


def test_acl_provider_has_execute(bearer):
    from microkubes.security import ACLProvider, Auth, Request, Response, SecurityException, ThreadLocalSecurityContext

    context = ThreadLocalSecurityContext()
    context.set_auth(Auth("1", "ann"))
    provider = ACLProvider([{"id": "p", "resources": ["/mine"]}])
    provider.execute(context, Request(SimpleNamespace(path="/mine", method="GET")), Response())
    with pytest.raises(SecurityException, match="not allowed"):
        provider.execute(context, Request(SimpleNamespace(path="/theirs", method="GET")), Response())


@pytest.mark.parametrize("version", ["3.9.3", "1.0.4", "0.14.1"])
def test_register_returns_the_answer_of_the_gateway(version):
    from microkubes.gateway import KongGatewayRegistrator

    service = {"name": "todos", "paths": ["/todos"], "host": "todos.service.consul", "port": 8080}
    with running(FakeKong(version)) as kong:
        for _ in range(2):  # the first call creates the service, the second one finds it
            answer = KongGatewayRegistrator(kong.url).register(**service)
            assert answer == kong.entities["apis" if kong.legacy else "services"]["todos"]
    if kong.legacy:
        assert (answer["uris"], answer["upstream_url"]) == (["/todos"], "http://todos.service.consul:8080")


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
    from microkubes.configuration import read_config

    file = tmp_path / "config.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json.*{reason}"):
        read_config(file)
