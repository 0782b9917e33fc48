"""The security chain: outcomes of providers, and the lifetime of an identity."""

import threading
from types import SimpleNamespace

import pytest

from security import (
    Auth,
    BreakChain,
    ContextvarsSecurityContext,
    InvalidToken,
    KeyException,
    PolicyError,
    Request,
    Response,
    SecurityChain,
    SecurityException,
    ThreadLocalSecurityContext,
    is_authenticated_provider,
    public_routes_provider,
)
from security.problem import to_response

ANN = Auth("1", "ann", roles=["b", "a"], scopes=["api:read"])


def run(chain: SecurityChain, path: str = "/") -> Response:
    response = Response()
    chain.execute(Request(SimpleNamespace(path=path, headers={}, method="GET")), response)
    return response


def as_ann(context, request, response):
    context.set_auth(ANN)


@pytest.fixture(params=[ThreadLocalSecurityContext, ContextvarsSecurityContext])
def context(request):
    return request.param()


def test_provider_sets_the_identity(context):
    run(SecurityChain(context).provider(as_ann).provider(is_authenticated_provider))
    assert context.get_auth() == ANN


def test_request_without_an_identity_is_rejected(context):
    with pytest.raises(SecurityException) as caught:
        run(SecurityChain(context).provider(is_authenticated_provider))
    assert caught.value.status_code == 401


def test_identity_of_an_earlier_request_is_cleared(context):
    context.set_auth(ANN)
    with pytest.raises(SecurityException):
        run(SecurityChain(context).provider(is_authenticated_provider))
    assert not context.has_auth()


def test_identity_is_invisible_to_other_threads(context):
    seen = []
    context.set_auth(ANN)
    thread = threading.Thread(target=lambda: seen.append(context.get_auth()))
    thread.start()
    thread.join()
    assert seen == [None]


def test_contexts_of_one_class_are_separate(context):
    context.set_auth(ANN)
    assert type(context)().get_auth() is None


def test_break_chain_admits_the_request(context):
    def admit(context, request, response):
        raise BreakChain

    run(SecurityChain(context).provider(admit).provider(is_authenticated_provider))


def test_provider_can_end_the_response(context):
    def reply(context, request, response):
        response.write_json({"a": 1})
        response.end(302)

    response = run(SecurityChain(context).provider(reply).provider(is_authenticated_provider))
    assert (response.status_code, response.get_response_body()) == (302, '{"a": 1}')


def test_failing_provider_is_a_500_without_details(context):
    def broken(context, request, response):
        raise KeyError("the password is hunter2")

    with pytest.raises(SecurityException) as caught:
        run(SecurityChain(context).provider(broken))
    assert caught.value.status_code == 500
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyException("/secret/place", "is broken"), PolicyError("p", "roles", "is wrong")])
def test_configuration_error_is_hidden_from_the_client(context, error):
    def misconfigured(context, request, response):
        raise error

    with pytest.raises(SecurityException) as caught:
        run(SecurityChain(context).provider(misconfigured))
    assert (caught.value.status_code, str(caught.value)) == (500, "the request could not be checked")


def test_message_of_a_provider_cannot_inject_headers(context):
    def reject(context, request, response):
        raise InvalidToken('bad user "x"\r\nSet-Cookie: a=b')

    with pytest.raises(SecurityException) as caught:
        run(SecurityChain(context).provider(reject).provider(is_authenticated_provider))
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.endswith('error_description="bad user ?x???Set-Cookie: a=b"')


def test_every_401_has_a_challenge():
    status, headers, _ = to_response(SecurityException("no", 401))
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="microkubes"')
    assert to_response(SecurityException("odd", 499))[0] == 499
    assert '"title":"Refused"' in to_response(SecurityException("odd", 499))[2]


def test_chain_without_a_context_raises():
    with pytest.raises(SecurityException, match="no security context"):
        run(SecurityChain())


@pytest.mark.parametrize(("path", "admitted"), [("/public/a", True), ("/public", False), ("/x/public/a", False)])
def test_public_routes_match_whole_paths(context, path, admitted):
    chain = SecurityChain(context, [public_routes_provider("/public/.*"), is_authenticated_provider])
    if admitted:
        run(chain, path)
    else:
        with pytest.raises(SecurityException):
            run(chain, path)


@pytest.mark.parametrize("patterns", [(), ("(",), (5,)])
def test_invalid_public_route_patterns_are_rejected(patterns):
    with pytest.raises(ValueError, match="public routes"):
        public_routes_provider(*patterns)


def test_equal_identities_have_equal_hashes():
    same = Auth("1", "ann", roles=("a", "b", "a"), scopes={"api:read"})
    assert same == ANN
    assert hash(same) == hash(ANN)
    assert Auth("1", "ann") != ANN
