"""Bodies of the wrong types and lengths: each reply names the field, in the service's own words."""

import pytest

pytestmark = pytest.mark.shared_ledger

TERMS = {
    "effective_date": "2020-01-01",
    "rate": "0.10",
    "day_count": "ACT/365F",
    "allocation": ["fees", "interest", "principal"],
    "grace_days": 10,
}
INSTALLMENT = {"due_date": "2020-02-01", "amt": "1.00"}
SCHEDULE = {"effective_date": "2020-01-01", "installments": [INSTALLMENT]}
METHOD = {
    "effective_date": "2020-01-01",
    "method": "annuity",
    "count": 2,
    "first_due_date": "2020-02-01",
    "every_months": 1,
}
PAYMENT = {"event_type": "payment", "post_date": "2020-02-01", "amt": "1.00"}
LOAN = "/api/v1/loan/1"


@pytest.mark.parametrize(
    ("path", "body", "field", "detail"),
    [
        (f"{LOAN}/terms", [], "body", "expected a JSON object"),
        (f"{LOAN}/terms", {**TERMS, "allocation": []}, "allocation", "expected at least 3 items"),
        (f"{LOAN}/terms", {**TERMS, "allocation": ["fees"] * 4}, "allocation", "expected at most 3 items"),
        (f"{LOAN}/terms", {**TERMS, "allocation": "fees"}, "allocation", "expected a list"),
        (f"{LOAN}/terms", {**TERMS, "rate": 0.1}, "rate", "expected a string"),
        (f"{LOAN}/terms", {**TERMS, "grace_days": 1.5}, "grace_days", "expected a whole number"),
        (f"{LOAN}/terms", {**TERMS, "grace_days": True}, "grace_days", "expected a whole number"),
        (f"{LOAN}/terms", {**TERMS, "grace_days": None}, "grace_days", "expected a whole number"),
        (f"{LOAN}/terms", {**TERMS, "grace_days": -1}, "grace_days", "expected a whole number of at least 0"),
        (f"{LOAN}/terms", {"reverses": 0}, "reverses", "expected a whole number of at least 1"),
        (f"{LOAN}/schedule", {**SCHEDULE, "installments": []}, "installments", "expected at least 1 item"),
        (f"{LOAN}/schedule", {**SCHEDULE, "installments": {}}, "installments", "expected a list"),
        (f"{LOAN}/schedule", {**SCHEDULE, "installments": [7]}, "installments.0", "expected an object"),
        (f"{LOAN}/schedule", {**METHOD, "count": "2"}, "count", "expected a whole number"),
        (f"{LOAN}/schedule", {**METHOD, "every_months": 10**30}, "every_months", "expected a whole number of at most"),
        (f"{LOAN}/schedule", {**METHOD, "end_of_month": "true"}, "end_of_month", "expected true or false"),
        (f"{LOAN}/events", {"events": []}, "events", "expected at least 1 item"),
        (f"{LOAN}/events", {"events": [PAYMENT] * 1001}, "events", "expected at most 1000 items"),
        (f"{LOAN}/events", {"events": [PAYMENT], "accrue": 1}, "accrue", "expected true or false"),
        ("/api/v1/balances", {"loan_ids": [], "dates": ["2020-01-01"]}, "loan_ids", "expected at least 1 item"),
        ("/api/v1/balances", {"pairs": [1]}, "pairs.0", "expected an object"),
    ],
)
def test_an_invalid_member_is_named_in_the_service_s_words(client, make_token, path, body, field, detail):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    reply = client.post(path, json=body, headers=headers)
    assert (reply.status_code, reply.content_type) == (400, "application/problem+json"), reply.text
    found = {error["field"]: error["detail"] for error in reply.json["errors"]}
    assert found[field].startswith(detail), reply.text
    assert "nput should" not in reply.text
    assert "List should" not in reply.text
