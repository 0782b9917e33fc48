"""Views guarded in Flask, as existing Microkubes services guard theirs."""

import pytest
from flask import Flask

from microkubes.security import Auth, FlaskSecurity, FlaskSecurityError, KeyException, KeyStore


@pytest.fixture
def app(keys_dir):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(str(keys_dir)).public_route("/open/.*").jwt().build()

    @app.route("/hello")
    @sec.secured
    def hello():
        return f"Hello {sec.context.get_auth().username}"

    @app.route("/write")
    @sec.secured(scopes=["api:write"])
    def write():
        return "written"

    @app.route("/open/door")
    @sec.secured
    def door():
        return f"identity: {sec.context.get_auth()}"

    return app


def test_valid_token_opens_a_guarded_view(app, bearer):
    assert app.test_client().get("/hello", headers=bearer).text == "Hello ann@example.com"


def test_guarded_view_is_closed_without_a_token(app):
    reply = app.test_client().get("/hello")
    assert reply.status_code == 401
    assert reply.content_type == "application/problem+json"
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="microkubes"'
    assert (reply.json["code"], reply.json["message"]) == (401, "authentication required")


def test_token_without_the_scope_is_forbidden(app, bearer):
    reply = app.test_client().get("/write", headers=bearer)
    assert reply.status_code == 403
    assert 'error="insufficient_scope"' in reply.headers["WWW-Authenticate"]
    assert 'scope="api:write"' in reply.headers["WWW-Authenticate"]


def test_token_with_the_scope_is_admitted(app, make_token):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert app.test_client().get("/write", headers=headers).text == "written"


def test_identity_does_not_outlive_its_request(app, bearer):
    client = app.test_client()
    client.get("/hello", headers=bearer)
    assert client.get("/open/door").text == "identity: None"


def test_public_route_with_a_scope_needs_an_identity(keys_dir):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).public_route("/a").jwt().build()
    app.add_url_rule("/a", view_func=sec.secured(lambda: "a", scopes=["api:read"]))
    assert app.test_client().get("/a").status_code == 401


def test_custom_providers_run_at_their_positions(keys_dir):
    order = []

    def recorder(name):
        return lambda context, request, response: order.append(name)

    builder = FlaskSecurity().keys_dir(keys_dir)
    for position in ("final", "last", "after_jwt", "before_jwt", "after_public", "first"):
        builder.add_provider(recorder(position), position)
    app = Flask(__name__)
    sec = builder.add_provider(lambda context, request, response: context.set_auth(Auth("1", "ann")), "first").build()
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    assert app.test_client().get("/").text == "in"
    assert order == ["first", "before_jwt", "after_public", "after_jwt", "last", "final"]


def test_default_position_is_last(keys_dir):
    chain = FlaskSecurity().keys_dir(keys_dir).add_provider(print, None).build_chain()
    assert chain.providers[0] is print


def test_static_files_are_public_routes(keys_dir):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).static_files(r".*\.css").jwt().build()
    app.add_url_rule("/a.css", view_func=sec.secured(lambda: "style"))
    assert app.test_client().get("/a.css").text == "style"


def test_rejections_can_be_plain_text(keys_dir):
    from microkubes.security.flask import Security

    builder = FlaskSecurity().keys_dir(keys_dir).jwt()
    sec = Security(builder.build_chain(), builder.build().context, json_response=False)
    app = Flask(__name__)
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    reply = app.test_client().get("/")
    assert (reply.status_code, reply.text, reply.mimetype) == (401, "authentication required", "text/plain")


@pytest.mark.parametrize("options", [{"issuer": "i"}, {"audience": "a"}, {"scopes": ["api:write"]}])
def test_jwt_weaker_than_oauth2_is_rejected(keys_dir, options):
    with pytest.raises(FlaskSecurityError, match=next(iter(options))):
        FlaskSecurity().keys_dir(keys_dir).jwt().oauth2(**options).build()


def test_jwt_and_oauth2_may_have_the_same_requirements(keys_dir):
    both = {"issuer": "i", "audience": "a"}
    assert FlaskSecurity().keys_dir(keys_dir).jwt(**both).oauth2(**both).build()


def test_unusable_key_added_late_fails_the_build(keys_dir, tmp_path):
    (tmp_path / "odd.pub").write_text("invalid")
    with pytest.raises(KeyException, match=r"odd\.pub"):
        FlaskSecurity().keys_dir(keys_dir).jwt().use_key("extra", tmp_path / "odd.pub").build()


def test_unknown_position_is_rejected(keys_dir):
    with pytest.raises(FlaskSecurityError, match="middle"):
        FlaskSecurity().keys_dir(keys_dir).add_provider(lambda *_: None, "middle")


def test_chain_needs_keys(keys_dir):
    with pytest.raises(FlaskSecurityError, match="key store"):
        FlaskSecurity().jwt()
    with pytest.raises(FlaskSecurityError, match="already"):
        FlaskSecurity(key_store=KeyStore(keys_dir)).keys_dir(keys_dir)


def test_provider_can_end_the_response(keys_dir):
    def reply(context, request, response):
        response.set_header("Location", "/login")
        response.end(302)

    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).add_provider(reply, "first").build()
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    response = app.test_client().get("/")
    assert (response.status_code, response.headers["Location"]) == (302, "/login")


def test_header_of_a_provider_is_added_to_the_response(keys_dir, bearer):
    sec = (
        FlaskSecurity()
        .keys_dir(keys_dir)
        .jwt()
        .add_provider(lambda context, request, response: response.set_header("X-Seen", "yes"), "final")
        .build()
    )
    app = Flask(__name__)
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    reply = app.test_client().get("/", headers=bearer)
    assert (reply.text, reply.headers["X-Seen"]) == ("in", "yes")


def test_use_key_trusts_a_single_key(keys_dir, make_token):
    sec = FlaskSecurity().use_key("platform", keys_dir / "default.pub").jwt().build()
    app = Flask(__name__)
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    get = app.test_client().get
    assert get("/", headers={"Authorization": f"Bearer {make_token('default')}"}).status_code == 200
    assert get("/", headers={"Authorization": f"Bearer {make_token('loaner')}"}).status_code == 401
