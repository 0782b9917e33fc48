"""Flask: views that are guarded, as existing Microkubes services guard theirs."""

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
        return f"nobody: {sec.context.get_auth()}"

    return app


def test_a_token_opens_a_guarded_view(app, bearer):
    assert app.test_client().get("/hello", headers=bearer).text == "Hello ann@example.com"


def test_without_a_token_a_guarded_view_stays_closed(app):
    reply = app.test_client().get("/hello")
    assert reply.status_code == 401
    assert reply.content_type == "application/problem+json"
    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="microkubes"'
    assert (reply.json["code"], reply.json["message"]) == (401, "authentication required")


def test_a_token_without_the_scope_is_forbidden(app, bearer):
    reply = app.test_client().get("/write", headers=bearer)
    assert reply.status_code == 403
    assert 'error="insufficient_scope"' in reply.headers["WWW-Authenticate"]
    assert 'scope="api:write"' in reply.headers["WWW-Authenticate"]


def test_a_token_with_the_scope_is_admitted(app, make_token):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert app.test_client().get("/write", headers=headers).text == "written"


def test_an_identity_does_not_outlive_its_request(app, bearer):
    client = app.test_client()
    client.get("/hello", headers=bearer)
    assert client.get("/open/door").text == "nobody: None"


def test_a_public_route_with_a_scope_still_needs_an_identity(keys_dir):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).public_route("/a").jwt().build()
    app.add_url_rule("/a", view_func=sec.secured(lambda: "a", scopes=["api:read"]))
    assert app.test_client().get("/a").status_code == 401


def test_providers_of_ones_own_stand_where_they_are_put(keys_dir):
    order = []

    def noting(name):
        return lambda context, request, response: order.append(name)

    builder = FlaskSecurity().keys_dir(keys_dir)
    for position in ("final", "last", "after_jwt", "before_jwt", "after_public", "first"):
        builder.add_provider(noting(position), position)
    app = Flask(__name__)
    sec = builder.add_provider(lambda context, request, response: context.set_auth(Auth("1", "ann")), "first").build()
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    assert app.test_client().get("/").text == "in"
    assert order == ["first", "before_jwt", "after_public", "after_jwt", "last", "final"]


def test_no_position_means_last(keys_dir):
    chain = FlaskSecurity().keys_dir(keys_dir).add_provider(print, None).build_chain()
    assert chain.providers[0] is print


def test_static_files_are_public_routes(keys_dir):
    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).static_files(r".*\.css").jwt().build()
    app.add_url_rule("/a.css", view_func=sec.secured(lambda: "style"))
    assert app.test_client().get("/a.css").text == "style"


def test_refusals_can_be_plain_text(keys_dir):
    from microkubes.security.flask import Security

    builder = FlaskSecurity().keys_dir(keys_dir).jwt()
    sec = Security(builder.build_chain(), builder.build().context, json_response=False)
    app = Flask(__name__)
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    reply = app.test_client().get("/")
    assert (reply.status_code, reply.text, reply.mimetype) == (401, "authentication required", "text/plain")


@pytest.mark.parametrize("demand", [{"issuer": "i"}, {"audience": "a"}, {"scopes": ["api:write"]}])
def test_jwt_does_not_let_pass_what_oauth2_refuses(keys_dir, demand):
    with pytest.raises(FlaskSecurityError, match=next(iter(demand))):
        FlaskSecurity().keys_dir(keys_dir).jwt().oauth2(**demand).build()


def test_both_may_demand_the_same(keys_dir):
    both = {"issuer": "i", "audience": "a"}
    assert FlaskSecurity().keys_dir(keys_dir).jwt(**both).oauth2(**both).build()


def test_a_key_that_is_added_late_stops_the_start_as_well(keys_dir, tmp_path):
    (tmp_path / "odd.pub").write_text("rubbish")
    with pytest.raises(KeyException, match=r"odd\.pub"):
        FlaskSecurity().keys_dir(keys_dir).jwt().use_key("extra", tmp_path / "odd.pub").build()


def test_a_position_that_does_not_exist_is_refused(keys_dir):
    with pytest.raises(FlaskSecurityError, match="middle"):
        FlaskSecurity().keys_dir(keys_dir).add_provider(lambda *_: None, "middle")


def test_a_chain_needs_keys(keys_dir):
    with pytest.raises(FlaskSecurityError, match="key store"):
        FlaskSecurity().jwt()
    with pytest.raises(FlaskSecurityError, match="already"):
        FlaskSecurity(key_store=KeyStore(keys_dir)).keys_dir(keys_dir)


def test_a_provider_may_reply_in_place_of_the_view(keys_dir):
    def reply(context, request, response):
        response.set_header("Location", "/login")
        response.end(302)

    app = Flask(__name__)
    sec = FlaskSecurity().keys_dir(keys_dir).add_provider(reply, "first").build()
    app.add_url_rule("/", view_func=sec.secured(lambda: "in"))
    answered = app.test_client().get("/")
    assert (answered.status_code, answered.headers["Location"]) == (302, "/login")


def test_a_header_of_a_provider_is_added_to_the_views_reply(keys_dir, bearer):
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
    ask = app.test_client().get
    assert ask("/", headers={"Authorization": f"Bearer {make_token('default')}"}).status_code == 200
    assert ask("/", headers={"Authorization": f"Bearer {make_token('loaner')}"}).status_code == 401
