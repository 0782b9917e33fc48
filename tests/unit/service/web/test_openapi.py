"""The OpenAPI document is valid, complete and true of every route."""

from collections import Counter

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.web.page.paths import is_page_path
from service.web.routes.docs import DOCUMENT_ALIASES, PAGE_ALIASES
from tests.generated.generated_requests import DOCUMENT, list_operations
from tests.support.application import build_app
from tests.support.settings import with_changes

# The documentation itself and the page, which are for people.
UNDOCUMENTED = {"/", *PAGE_ALIASES, *DOCUMENT_ALIASES, "/api/v1", DOCUMENT, "/api/v1/swagger/{filename}"}


@pytest.fixture
def document(bare_app):
    return bare_app.test_client().get(DOCUMENT).json


def path_with_examples(path, operation):
    """Return the path of an operation, filled with the examples of its parameters."""
    examples = {each["name"]: each["example"] for each in operation.get("parameters", ()) if each["in"] == "path"}
    return path.format(**examples)


def test_the_document_is_valid_openapi_3_1(document):
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_documented(bare_app, document):
    routes = {
        (rule.rule.replace("<path:", "<").replace("<", "{").replace(">", "}"), method)
        for rule in bare_app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for method, path, _ in list_operations(document)}
    assert {path for path, _ in routes - documented if not is_page_path(path)} == UNDOCUMENTED
    assert not [path for path, _ in documented if is_page_path(path)]
    assert documented <= routes


def test_every_operation_has_a_unique_id_a_summary_and_a_description(document):
    names = Counter(operation["operationId"] for _, _, operation in list_operations(document))
    assert set(names.values()) == {1}
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for method, path, operation in list_operations(document):
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert "<br" not in operation["description"], (method, path)
        assert operation["tags"], (method, path)
        assert set(operation["tags"]) <= tags, (method, path)


def test_every_reply_is_described_and_every_error_is_a_problem_document(document):
    for method, path, operation in list_operations(document):
        for status, reply in operation["responses"].items():
            assert reply["description"], (method, path, status)
            assert "content" in reply or status == "304", (method, path, status)
            if status >= "400" and path != "/token":  # its errors follow RFC 6749
                assert set(reply["content"]) == {"application/problem+json"}, (method, path, status)


def test_every_operation_documents_400(document):
    for method, path, operation in list_operations(document):
        assert "400" in operation["responses"], (method, path)  # for unknown parameters


def examples_within(node):
    """Generate pairs of an example and its schema."""
    if isinstance(node, dict):
        if "example" in node:
            yield node["example"], node.get("schema", node)
        for name, each in node.items():
            if name != "example":
                yield from examples_within(each)
    elif isinstance(node, list):
        for each in node:
            yield from examples_within(each)


def test_every_example_matches_its_schema(document):
    examples = list(examples_within(document))
    assert len(examples) > 50
    for example, schema in examples:
        # with the whole document, so that references can be resolved
        OAS31Validator({**document, "allOf": [schema]}).validate(example)


def test_documented_security_matches_the_access_rules(client, make_token, document):
    for method, path, operation in list_operations(document):
        place = path_with_examples(path, operation)
        statuses = [
            client.open(place, method=method, headers=headers).status_code
            for headers in ({}, {"Authorization": f"Bearer {make_token(scopes='other')}"})
        ]
        if "security" in operation:
            assert statuses == [401, 403], (method, path)
            assert {"401", "403"} <= set(operation["responses"]), (method, path)
            assert [[*requirement] for requirement in operation["security"]] == [["bearer"]]  # the fixture issues none
            [scopes] = operation["security"][0].values()
            headers = {"Authorization": f"Bearer {make_token(scopes=' '.join(scopes))}"}
            assert client.open(place, method=method, headers=headers).status_code not in (401, 403), (method, path)
        else:
            assert 403 not in statuses, (method, path)
            assert "403" not in operation["responses"], (method, path)


def test_public_routes_are_documented_without_security(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    opened = client.get(DOCUMENT).json["paths"]
    for path in ("/{loan_id}/{date}", "/api/v1/loan/{loan_id}/history"):
        assert "security" not in opened[path]["get"]
        assert not {"401", "403"} & set(opened[path]["get"]["responses"])
    assert {"bearer": ["api:write"]} in opened["/api/v1/loan"]["post"]["security"]


def test_replies_with_an_etag_support_304_as_documented(client, bearer, document):
    tagged = set()
    for method, path, operation in list_operations(document):
        if method == "GET":
            place = path_with_examples(path, operation)
            reply = client.get(place, headers=bearer)
            assert reply.status_code == 200, path
            tag = reply.headers.get("ETag")
            assert (tag is not None) == ("ETag" in operation["responses"]["200"].get("headers", ()))
            if tag is not None:
                again = client.get(place, headers={**bearer, "If-None-Match": tag})
                assert (again.status_code, again.headers["ETag"]) == (304, tag), path
                documented = operation["responses"]["304"]["headers"]
                required = [name for name, header in documented.items() if header["required"]]
                assert all(name in again.headers for name in required), path
                tagged.add(path)
    assert {"/.well-known/jwks.json", "/{loan_id}/{date}"} <= tagged


def test_internal_routes_document_404(client, document):
    for method, path, operation in list_operations(document):
        if "parameters" not in operation and method == "GET":
            is_internal = client.get(path, headers={"Via": "1.1 gateway"}).status_code == 404
            assert is_internal == ("404" in operation["responses"]), path


def test_client_credentials_are_documented_where_tokens_are_issued(client):
    document = client.get(DOCUMENT).json
    OpenAPIV31SpecValidator(document).validate()
    assert [*document["components"]["securitySchemes"]] == ["bearer", "client_credentials"]
    for method, path, operation in list_operations(document):
        if "security" in operation:
            by_token, by_client = operation["security"]
            assert by_token["bearer"] == by_client["client_credentials"], (method, path)


def test_the_url_of_tokens_has_the_prefix_of_the_gateway(client):
    for headers, url in (({}, "/token"), ({"X-Forwarded-Prefix": "/loaner"}, "/loaner/token")):
        schemes = client.get(DOCUMENT, headers=headers).json["components"]["securitySchemes"]
        assert schemes["client_credentials"]["flows"]["clientCredentials"]["tokenUrl"] == url
        assert client.post("/token").status_code == 400  # the service issues tokens: this request is only incomplete


def test_only_tokens_are_documented_where_none_can_be_issued(served):
    client = build_app(with_changes(served, secret="")).test_client()
    document = client.get(DOCUMENT).json
    assert client.post("/token").status_code == 404
    assert [*document["components"]["securitySchemes"]] == ["bearer"]
    assert "/token" not in document["components"]["securitySchemes"]["bearer"]["description"]
    for _, _, operation in list_operations(document):
        assert operation.get("security", [{"bearer": []}])[0].keys() == {"bearer"}
        assert len(operation.get("security", [{}])) == 1


def prefilled(operation) -> dict[str, object]:
    """Return the query and header parameters of an operation that Swagger UI sends unless a person changes them."""
    found = {}
    for each in operation.get("parameters", ()):
        for value in (each.get("example"), each["schema"].get("example"), each["schema"].get("default")):
            if each["in"] != "path" and value is not None:
                found[each["name"]] = value
    return found


def test_optional_parameters_have_no_example(document):
    for method, path, operation in list_operations(document):
        for each in operation.get("parameters", ()):
            is_prefilled = "example" in each or "example" in each["schema"]
            assert is_prefilled == each["required"], (method, path, each["name"])


def test_each_optional_parameter_can_be_added_to_what_is_prefilled(client, bearer, document):
    values = {"known_at": "2020-01-01T00:00:00Z", "as_of_version": "0", "min_version": "0", "format": "csv"}
    added = set()
    for method, path, operation in list_operations(document):
        if method == "GET":
            place, query = path_with_examples(path, operation), prefilled(operation)
            query = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
            assert client.get(place, query_string=query, headers=bearer).status_code == 200, path
            for each in operation.get("parameters", ()):
                if each["name"] in values:
                    query_with = {**query, each["name"]: values[each["name"]]}
                    status = client.get(place, query_string=query_with, headers=bearer).status_code
                    # No loan existed at `known_at`, since the test has recorded it today.
                    assert status == 200 or (status == 404 and each["name"] == "known_at"), (path, each["name"])
                    added.add(each["name"])
    assert added == values.keys()


def test_installments_of_a_schedule_and_of_arrears_are_described_apart(document):
    schemas = document["components"]["schemas"]
    fields = {
        reply: set(
            schemas[schemas[reply]["properties"]["installments"]["items"]["$ref"].rpartition("/")[2]]["properties"]
        )
        for reply in ("ArrearsReply", "RecordedScheduleReply")
    }
    assert fields == {
        "ArrearsReply": {"due_date", "amt", "satisfied"},
        "RecordedScheduleReply": {"due_date", "amt"},
    }
