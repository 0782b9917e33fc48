"""The largest request that the schemas allow is not too large, however it is written."""

import json
import time

import pytest

from service.web.app import MAX_BODY_BYTES
from tests.conftest import ROOT
from tests.generated.generated_requests import DOCUMENT, list_operations
from tests.support.application import build_app

# A printable character outside the Basic Multilingual Plane: JSON escapes it as two surrogates, 12 bytes.
LONGEST = "\U0001d7d8"
NUMBERS = {"[0-9]{1,18}": f"{'9' * 18}.9999", "^(10": "10.00000000"}  # amounts and rates, by a part of their patterns
TEXTS = {"date": "9999-12-31", "date-time": "9999-12-31T23:59:59.999999999+23:59"}


@pytest.fixture
def app(served):
    return build_app(served)


def largest(schema, document, number=0):
    """Return the longest value that a schema allows. `number` makes values differ."""
    if "$ref" in schema:
        return largest(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, number)
    if "enum" in schema:
        return max(schema["enum"], key=len)
    match schema["type"]:
        case "object":
            excluded = {"pairs"} if "loan_ids" in schema["properties"] else set()
            members = {name: each for name, each in schema["properties"].items() if name not in excluded}
            return {name: largest(each, document, number) for name, each in members.items()}
        case "array":
            return [largest(schema["items"], document, position) for position in range(schema["maxItems"])]
        case "integer":
            return schema["maximum"] - number
        case "boolean":
            return False
        case "string" if "format" in schema:
            return TEXTS[schema["format"]]
        case "string" if "maxLength" in schema:
            return f"{number:x}".rjust(schema["maxLength"], LONGEST)
        case "string":
            return next((text for part, text in NUMBERS.items() if part in schema["pattern"]), None) or pytest.fail(
                f"no maximum: {schema}"
            )
    return pytest.fail(f"unknown schema: {schema}")


def escape(value):
    """Write JSON with every character of every string escaped."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{escape(name)}:{escape(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(escape, value)) + "]"
    if isinstance(value, str):
        units = value.encode("utf-16-be")
        return '"' + "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)) + '"'
    return json.dumps(value)


def list_bodies(document):
    """Generate the path, and the largest bodies, of each operation that takes JSON by a schema."""
    for method, path, operation in list_operations(document):
        content = operation.get("requestBody", {"content": {}})["content"]
        if method == "POST" and path != "/token":
            body = largest(content["application/json"]["schema"], document)
            if "dates" in body:
                pairs = largest(document["components"]["schemas"]["Pair"], document)
                count = len(body["loan_ids"])
                many = [{**pairs, "loan_id": pairs["loan_id"] - number} for number in range(count)]
                common = {name: each for name, each in body.items() if name not in ("loan_ids", "dates")}
                yield path, {**common, "pairs": many}
                yield path, {**common, "loan_ids": body["loan_ids"], "dates": ["9999-12-31"]}
            else:
                yield from ((path, form) for form in forms_of(content["application/json"]["schema"], document, body))


def forms_of(schema, document, body):
    """Generate the body in each form that its schema allows: without the members that do not belong to the form."""
    for form in document["components"]["schemas"][schema["$ref"].rpartition("/")[2]].get("oneOf", [{}]):
        foreign = {each["required"][0] for each in form.get("not", {"anyOf": []})["anyOf"]}
        yield {name: each for name, each in body.items() if name not in foreign}


def test_the_largest_valid_request_of_every_route_fits(app, make_token, report_measurement):
    client = app.test_client()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    checked = set()
    for path, body in list_bodies(client.get(DOCUMENT).json):
        data = escape(body).encode()
        assert len(data) <= MAX_BODY_BYTES, (path, len(data))
        began = time.perf_counter()
        reply = client.post(path.format(loan_id=1), data=data, content_type="application/json", headers=headers)
        report_measurement(f"largest request of {path}: {len(data):,} bytes, {time.perf_counter() - began:.2f} s")
        assert reply.status_code != 413, path
        if reply.status_code == 400:
            # Amounts have more decimals than the currency, an order names a part twice, and all dates are equal.
            expected = {"amt", "initial_amt", "allocation", "first_due_date"}
            assert {error["field"].rpartition(".")[2] for error in reply.json["errors"]} <= expected, path
        checked.add(path)
    of_loan = ("accrue", "events", "terms", "schedule")
    assert checked == {"/api/v1/balances", "/api/v1/loan", *(f"/api/v1/loan/{{loan_id}}/{name}" for name in of_loan)}


def test_the_largest_valid_events_are_posted(app, make_token):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    event = {"event_type": "interest", "post_date": "2020-07-01", "amt": "999999999999.99", "memo": LONGEST * 200}
    events = [{**event, "source_id": f"{number:x}".rjust(200, LONGEST)} for number in range(1000)]
    data = escape({"events": events, "expected_version": 3}).encode()
    reply = app.test_client().post("/api/v1/loan/1/events", data=data, content_type="application/json", headers=headers)
    assert (reply.status_code, reply.json["version"]) == (201, 1003)


def test_one_byte_more_than_the_limit_is_413(app, make_token):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    body = b'{"loan_ids": [1], "dates": ["2020-02-29"]}'
    for size, status in ((MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)):
        reply = app.test_client().post(
            "/api/v1/balances", data=body.ljust(size), content_type="application/json", headers=headers
        )
        assert reply.status_code == status, size


def test_the_proxy_of_the_installation_allows_as_much():
    text = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    [megabytes] = [line.split()[1].rstrip("m;") for line in text.splitlines() if "client_max_body_size" in line]
    assert int(megabytes) * 2**20 >= MAX_BODY_BYTES
