"""The WSGI middleware: the same outcomes as in Flask."""

import json
import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from security import (
    ACLProvider,
    JWTProvider,
    KeyStore,
    SecurityChain,
    SecurityMiddleware,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
    public_routes_provider,
)


@pytest.fixture
def chain(keys_dir):
    policies = [{"id": "p", "resources": ["/hello", "/crash", "/grüße"]}]
    return (
        SecurityChain(ThreadLocalSecurityContext())
        .provider(public_routes_provider("/open"))
        .provider(JWTProvider(KeyStore(keys_dir)))
        .provider(is_authenticated_provider)
        .provider(ACLProvider(policies))
    )


@pytest.fixture
def application(chain):
    def hello(environ, start_response):
        if environ["PATH_INFO"] == "/crash":
            raise RuntimeError("crash")
        start_response("200 OK", [("Content-Type", "text/plain")])
        auth = chain.security_context.get_auth()
        return Body([f"hello {auth.username if auth else 'anonymous'}".encode()])

    return SecurityMiddleware(hello, chain)


class Body(list):
    closed = False

    def close(self):
        Body.closed = True


def ask(application, path="/hello", **headers):
    environ = {
        "PATH_INFO": path.encode().decode("latin-1"),
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        **headers,
    }
    setup_testing_defaults(environ)
    started = {}

    def start_response(status, headers, exc_info=None):
        started.update(status=status, headers=dict(headers))

    answer = validator(application)(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    return started["status"], started["headers"], body


def test_valid_token_is_admitted(application, chain, make_token):
    assert ask(application, HTTP_AUTHORIZATION=f"Bearer {make_token()}")[::2] == ("200 OK", b"hello ann@example.com")
    assert Body.closed
    assert not chain.security_context.has_auth()


def test_path_is_decoded_as_utf_8(application, make_token):
    assert ask(application, "/grüße", HTTP_AUTHORIZATION=f"Bearer {make_token()}")[0] == "200 OK"


def test_request_without_an_identity_is_401(application):
    status, headers, body = ask(application)
    assert (status, headers["Content-Type"]) == ("401 Unauthorized", "application/problem+json")
    assert headers["WWW-Authenticate"] == 'Bearer realm="microkubes"'
    assert (json.loads(body)["code"], json.loads(body)["message"]) == (401, "authentication required")


def test_identity_without_permission_is_403(application, chain, make_token):
    assert ask(application, "/other", HTTP_AUTHORIZATION=f"Bearer {make_token()}")[0] == "403 Forbidden"
    assert not chain.security_context.has_auth()


def test_public_routes_are_open(application):
    assert ask(application, "/open")[::2] == ("200 OK", b"hello anonymous")


@pytest.mark.parametrize("path", ["//secret", "///secret", "/secret"])
def test_leading_slashes_are_merged(chain, make_token, path):
    chain.providers[-1] = ACLProvider([{"id": "all"}, {"id": "d", "effect": "deny", "resources": ["/secret"]}])
    application = SecurityMiddleware(lambda *_: [b"secret"], chain)
    assert ask(application, path, HTTP_AUTHORIZATION=f"Bearer {make_token()}")[0] == "403 Forbidden"


def test_path_that_is_not_latin_1_is_400(application):
    statuses = []
    application({"PATH_INFO": "/\u4e2d", "REQUEST_METHOD": "GET"}, lambda status, headers: statuses.append(status))
    assert statuses == ["400 Bad Request"]


def test_interleaved_responses_have_separate_identities(chain, make_token):
    def slowly(environ, start_response):
        start_response("200 OK", [])
        for _ in range(2):
            yield chain.security_context.get_auth().username.encode()

    application = SecurityMiddleware(slowly, chain)

    def begin(name):
        token = make_token(userId=name, username=name)
        environ = {"PATH_INFO": "/hello", "REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {token}"}
        return application(environ, lambda *_: None)

    ann, bob = begin("ann"), begin("bob")
    anns, bobs = iter(ann), iter(bob)
    assert [next(anns), next(bobs), next(anns)] == [b"ann", b"bob", b"ann"]
    ann.close()
    assert next(bobs) == b"bob"
    bob.close()
    assert not chain.security_context.has_auth()


def test_exc_info_reaches_start_response(chain, make_token):
    seen = []

    def application(environ, start_response):
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oops", [], sys.exc_info())
        return []

    environ = {"PATH_INFO": "/hello", "REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": f"Bearer {make_token()}"}
    SecurityMiddleware(application, chain)(environ, lambda *arguments: seen.append(arguments[2][0]))
    assert seen == [ValueError]


def test_failing_application_leaves_no_identity_behind(application, chain, make_token):
    with pytest.raises(RuntimeError, match="crash"):
        ask(application, "/crash", HTTP_AUTHORIZATION=f"Bearer {make_token()}")
    assert not chain.security_context.has_auth()


def test_failing_provider_is_a_500_without_details(chain):
    def broken(context, request, response):
        raise KeyError("hunter2")

    chain.providers.insert(0, broken)
    status, _, body = ask(SecurityMiddleware(lambda *_: [], chain))
    assert status == "500 Internal Server Error"
    assert b"hunter2" not in body


def test_provider_can_end_the_response(chain):
    seen = []

    def reply(context, request, response):
        seen.append((request.get_header("X-One"), request.get_header("Content-Type"), request.get_header("X-Two")))
        seen.append((request.method, request.host, request.scheme, request.query_string))
        response.write("later")
        response.set_header("Content-Type", "text/plain")
        response.end(202)

    chain.providers.insert(0, reply)
    answered = ask(SecurityMiddleware(lambda *_: [], chain), HTTP_X_ONE="1", CONTENT_TYPE="text/x")
    assert answered[::2] == ("202 Accepted", b"later")
    assert seen == [("1", "text/x", None), ("GET", "127.0.0.1", "http", b"")]


def test_header_of_a_provider_is_added_to_the_response(application, chain, make_token):
    chain.provider(lambda context, request, response: response.set_header("X-Seen", "yes"))
    _, headers, body = ask(application, HTTP_AUTHORIZATION=f"Bearer {make_token()}")
    assert (headers["X-Seen"], body) == ("yes", b"hello ann@example.com")


def test_chain_does_not_import_flask():
    import subprocess

    code = (
        "import sys, security; assert 'flask' not in sys.modules; security.FlaskSecurity; assert 'flask' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scopes_are_required_on_public_routes_too(chain):
    replies = []
    middleware = SecurityMiddleware(lambda *_: replies.append("answered") or [b""], chain, scopes=("api:read",))
    statuses = []
    middleware({"PATH_INFO": "/open", "REQUEST_METHOD": "GET"}, lambda status, *_: statuses.append(status))
    assert (statuses, replies) == (["401 Unauthorized"], [])


def test_providers_see_parameters_and_cookies():
    seen = []

    def remember(context, req, resp):
        seen.append((req.args, req.cookies, req.get_cookie("sid"), req.get_cookie("missing")))
        resp.end(204)

    application = SecurityMiddleware(None, SecurityChain(ThreadLocalSecurityContext(), [remember]))
    ask(application, QUERY_STRING="a=1&b=&a=2&c=%C3%A9", HTTP_COOKIE='sid="x=1"; broken; t@g=2; sid=other')
    ask(application)
    assert seen == [
        ({"a": "1", "b": "", "c": "é"}, {"sid": "x=1", "t@g": "2"}, "x=1", None),
        ({}, {}, None, None),
    ]
