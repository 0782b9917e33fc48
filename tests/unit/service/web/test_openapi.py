"""The OpenAPI document: that it is one, and that it tells of every route what is true of it."""

from collections import Counter

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.runtime.bootstrap import build_app
from tests.generated.generated_requests import DOCUMENT, operations_of
from tests.support.settings import with_changes

# The documentation itself, which people see and programs do not ask for.
NOT_IN_THE_DOCUMENT = {"/", "/api/v1", DOCUMENT, "/api/v1/swagger/{filename}"}


@pytest.fixture
def document(bare_app):
    return bare_app.test_client().get(DOCUMENT).json


def path_with_examples(path, operation):
    """Where an operation is, with the examples that the document has for what is in its path."""
    told = {each["name"]: each["example"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    return path.format(**told)


def test_it_is_openapi_3_1(document):
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_in_it(bare_app, document):
    routes = {
        (rule.rule.replace("<path:", "<").replace("<", "{").replace(">", "}"), method)
        for rule in bare_app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    told = {(path, method) for method, path, _ in operations_of(document)}
    assert {path for path, _ in routes - told} == NOT_IN_THE_DOCUMENT
    assert told <= routes


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    names = Counter(operation["operationId"] for _, _, operation in operations_of(document))
    assert set(names.values()) == {1}
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for method, path, operation in operations_of(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert "<br" not in operation["description"], (method, path)
        assert operation["tags"], (method, path)
        assert set(operation["tags"]) <= tags, (method, path)


def test_every_reply_has_a_meaning_and_every_refusal_says_why(document):
    for method, path, operation in operations_of(document):
        for status, reply in operation["responses"].items():
            assert reply["description"], (method, path, status)
            assert "content" in reply or status == "304", (method, path, status)
            if status >= "400" and path != "/token":  # whose refusals are those of OAuth2
                assert set(reply["content"]) == {"application/problem+json"}, (method, path, status)


def test_what_takes_parameters_may_refuse_them_and_nothing_else_does(document):
    for method, path, operation in operations_of(document):
        takes = "parameters" in operation or "requestBody" in operation
        assert ("400" in operation["responses"]) == takes, (method, path)


def examples_within(node):
    """Each (example, the schema that it is one of)."""
    if isinstance(node, dict):
        if "example" in node:
            yield node["example"], node.get("schema", node)
        for name, each in node.items():
            if name != "example":
                yield from examples_within(each)
    elif isinstance(node, list):
        for each in node:
            yield from examples_within(each)


def test_every_example_is_one(document):
    examples = list(examples_within(document))
    assert len(examples) > 50
    for example, schema in examples:
        # in the document, so that what it refers to is found
        OAS31Validator({**document, "allOf": [schema]}).validate(example)


def test_it_tells_who_may_ask(client, make_token, document):
    for method, path, operation in operations_of(document):
        place = path_with_examples(path, operation)
        statuses = [
            client.open(place, method=method, headers=headers).status_code
            for headers in ({}, {"Authorization": f"Bearer {make_token(scopes='another')}"})
        ]
        if "security" in operation:
            assert statuses == [401, 403], (method, path)
            assert {"401", "403"} <= set(operation["responses"]), (method, path)
            [[scopes]] = [requirement.values() for requirement in operation["security"]]
            headers = {"Authorization": f"Bearer {make_token(scopes=' '.join(scopes))}"}
            assert client.open(place, method=method, headers=headers).status_code not in (401, 403), (method, path)
        else:
            assert 403 not in statuses, (method, path)
            assert "403" not in operation["responses"], (method, path)


def test_it_tells_that_routes_are_open_when_they_are(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    opened = client.get(DOCUMENT).json["paths"]
    for path in ("/{loan_id}/{date}", "/api/v1/loan/{loan_id}/history"):
        assert "security" not in opened[path]["get"]
        assert not {"401", "403"} & set(opened[path]["get"]["responses"])
    assert opened["/api/v1/loan"]["post"]["security"] == [{"bearer": ["api:write"]}]


def test_what_has_a_tag_is_not_sent_again_and_the_document_says_so(client, bearer, document):
    tagged = set()
    for method, path, operation in operations_of(document):
        if method == "GET":
            place = path_with_examples(path, operation)
            reply = client.get(place, headers=bearer)
            assert reply.status_code == 200, path
            tag = reply.headers.get("ETag")
            assert (tag is not None) == ("ETag" in operation["responses"]["200"].get("headers", ()))
            if tag is not None:
                again = client.get(place, headers={**bearer, "If-None-Match": tag})
                assert (again.status_code, again.headers["ETag"]) == (304, tag), path
                told = operation["responses"]["304"]["headers"]
                assert {name for name, header in told.items() if header["required"]} <= set(again.headers.keys()), path
                tagged.add(path)
    assert {"/.well-known/jwks.json", "/{loan_id}/{date}"} <= tagged


def test_what_is_closed_to_a_gateway_says_so(client, document):
    for method, path, operation in operations_of(document):
        if "parameters" not in operation and method == "GET":
            closed = client.get(path, headers={"Via": "1.1 gateway"}).status_code == 404
            assert closed == ("404" in operation["responses"]), path
