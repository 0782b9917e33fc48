"""The schedule of a loan over HTTP: installments, or a method that computes them."""

import pytest

from service.ledger.computed_posting import ATTEMPTS
from service.web.routes import agreements, computed_schedule
from tests.conftest import sql
from tests.integration.service.web.test_terms import FEE, applying, fields, writer  # noqa: F401

SCHEDULE = "/api/v1/loan/1/schedule"
TERMS = "/api/v1/loan/1/terms"
EVENTS = "/api/v1/loan/1/events"
INSTALLMENTS = [{"due_date": "2020-04-01", "amt": "450.00"}, {"due_date": "2020-05-01", "amt": "449.5"}]
GOOD = {"effective_date": "2020-03-01", "installments": INSTALLMENTS}
METHOD = {
    "effective_date": "2020-03-01",
    "method": "equal_principal",
    "count": 3,
    "first_due_date": "2020-03-31",
    "every_months": 1,
}
RATE = {
    "effective_date": "2020-03-01",
    "rate": "0.12",
    "day_count": "30E/360",
    "allocation": ["fees", "interest", "principal"],
    "grace_days": 0,
}


@pytest.fixture
def post(client, writer):  # noqa: F811
    """Posts a schedule of loan 1, and returns the reply."""

    def post(body=GOOD, status=201, path=SCHEDULE, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = client.post(path, json=body, headers={**writer, **named})
        assert reply.status_code == status, reply.text
        return reply

    return post


@pytest.fixture
def read(client, bearer):
    """Requests the schedules of loan 1."""

    def read(query=None, status=200, path=SCHEDULE):
        reply = client.get(path, query_string=query or {}, headers=bearer)
        assert reply.status_code == status, reply.text
        return reply

    return read


def stored(posting):
    return sql(posting, "SELECT count(*) FROM loan_schedules")[0][0]


def test_a_posted_schedule_is_in_the_reply_and_in_the_list(post, read):
    made = post({**GOOD, "source_id": "plan 7", "memo": "as agreed"})
    installments = [INSTALLMENTS[0], {"due_date": "2020-05-01", "amt": "449.50"}]
    assert made.json == {
        "loan_id": 1, "currency": "USD", "version": 4, "recorded_at": made.json["recorded_at"], "posted_by": "ann",
        "effective_date": "2020-03-01", "installments": installments, "method": None, "reverses": None,
        "source_id": "plan 7", "memo": "as agreed",
    }  # fmt: skip
    assert made.headers["ETag"].startswith('"4-')
    listed = read()
    members = {name: value for name, value in made.json.items() if name not in ("loan_id", "currency")}
    assert listed.json == {
        "loan_id": 1, "currency": "USD", "version": 4, "next_cursor": None,
        "schedules": [{**members, "reversed_by": None, "applies": True}],
    }  # fmt: skip
    assert (listed.headers["ETag"][:3], listed.headers["As-Of"] > "2020") == ('"4-', True)


def test_a_reversal_takes_a_schedule_back(post, read):
    post()
    post({**GOOD, "installments": INSTALLMENTS[:1]})
    undone = post({"reverses": 5}).json
    assert (undone["installments"], undone["reverses"]) == (INSTALLMENTS[:1], 5)
    states = [[each["applies"] for each in read({"as_of_version": version}).json["schedules"]] for version in (4, 5, 6)]
    assert states == [[True], [False, True], [True, False, False]]
    assert read({"known_at": undone["recorded_at"]}).json == read({"as_of_version": 6}).json
    assert fields(post({"reverses": 5}, status=409)) == {"reverses"}
    assert fields(post({"reverses": 6}, status=422)) == {"reverses"}
    assert fields(post({**GOOD, "reverses": 4}, status=400)) == {"effective_date", "installments"}


@pytest.mark.parametrize(
    ("installments", "field"),
    [
        ([], "installments"), (None, "installments"), ({}, "installments"), ([1], "installments.0"),
        ([{"due_date": "2020-04-01"}], "installments.0.amt"), ([{"amt": "1"}], "installments.0.due_date"),
        ([{**INSTALLMENTS[0], "amt": "0"}], "installments.0.amt"),
        ([{**INSTALLMENTS[0], "amt": 1}], "installments.0.amt"),
        ([{**INSTALLMENTS[0], "amt": "1.001"}], "installments.0.amt"),
        ([INSTALLMENTS[0], {**INSTALLMENTS[0], "amt": "10000000000000000"}], "installments.1.amt"),
        ([{**INSTALLMENTS[0], "due_date": "2020-02-30"}], "installments.0.due_date"),
        ([{**INSTALLMENTS[0], "more": 1}], "installments.0.more"),
        (INSTALLMENTS[::-1], "installments.1.due_date"),
        ([INSTALLMENTS[0]] * 1201, "installments"),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_invalid_installments_are_400_and_named_and_nothing_is_posted(post, read_only, installments, field):
    assert fields(post({**GOOD, "installments": installments}, status=400)) == {field}
    assert stored(read_only) == 0


def test_installments_whose_sum_is_too_large_are_refused(post, posting):
    body = {**GOOD, "installments": [{**INSTALLMENTS[0], "amt": "9999999999999999"}] * 10}
    assert fields(post(body, status=422)) == {"installments"}
    assert stored(posting) == 0


def test_the_longest_schedule_is_posted(post, read):
    post({**GOOD, "installments": [INSTALLMENTS[0]] * 1200})
    assert len(read().json["schedules"][0]["installments"]) == 1200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"effective_date", "method", "count", "first_due_date", "every_months"}),
        ({"effective_date": "2020-03-01", "method": "annuity"}, {"count", "first_due_date", "every_months"}),
        ({**GOOD, "method": "annuity"}, {"method"}),
        ({**GOOD, "end_of_month": True}, {"end_of_month"}),
        ({**METHOD, "method": "balloon"}, {"method"}),
        ({**METHOD, "count": 0}, {"count"}),
        ({**METHOD, "count": 1201}, {"count"}),
        ({**METHOD, "every_months": 0}, {"every_months"}),
        ({**METHOD, "every_months": "1"}, {"every_months"}),
        ({**METHOD, "end_of_month": "true"}, {"end_of_month"}),
        ({**METHOD, "first_due_date": "2020-03-01"}, {"first_due_date"}),
        ({"reverses": 4, "count": 3}, {"count"}),
    ],
)
@pytest.mark.shared_ledger
def test_each_form_has_its_members(post, read_only, body, expected):
    assert fields(post(body, status=400)) == expected
    assert stored(read_only) == 0


def test_closed_periods_count_for_the_effective_date_only(post, admin):
    sql(admin, "SELECT close_period('2020-04-01', 'test')")
    assert fields(post(status=422)) == {"effective_date"}
    post({**GOOD, "effective_date": "2020-04-02"})  # the first installment is due in the closed period
    post({**GOOD, "effective_date": "9999-12-31"})


def test_a_method_computes_the_installments_from_the_loan(post, read):
    post({**RATE, "effective_date": "2020-01-01", "rate": "0"}, path=TERMS)
    post({**RATE, "effective_date": "2020-03-02"}, path=TERMS)
    made = post(METHOD).json
    # A principal of 899.50 earns 28 days of 12 % a year, 8.3953, then 1 % a month: 5.9967 on 599.67, 2.9984 on 299.84.
    # What one rounding leaves goes into the next: 8.40, 5.99 and 3.00.
    dates = [each["due_date"] for each in made["installments"]]
    assert dates == ["2020-03-31", "2020-04-30", "2020-05-31"]
    assert made["method"] == {
        "name": "equal_principal", "count": 3, "first_due_date": "2020-03-31", "every_months": 1, "end_of_month": False,
    }  # fmt: skip
    assert [each["amt"] for each in made["installments"]] == ["308.23", "305.82", "302.84"]
    [listed] = read().json["schedules"]
    assert (listed["installments"], listed["method"]) == (made["installments"], made["method"])
    post(FEE, path=EVENTS)
    assert read().json["schedules"][0]["installments"] == made["installments"]


def test_a_loan_without_principal_has_no_computed_schedule(post):
    assert fields(post({**METHOD, "effective_date": "2019-01-01"}, status=422)) == {"method"}


def test_a_repeated_request_is_not_computed_again(post, posting):
    first = post(METHOD, Idempotency_Key="k")
    sql(posting, "SELECT post_events('{1}', '{payment}', '{2020-03-01}', '{899.55}')")
    again = post(METHOD, Idempotency_Key="k")  # without principal, it could not be computed
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert post({**METHOD, "count": 4}, status=409, Idempotency_Key="k").json["type"] == "urn:loaner:problem:key-reused"


def test_a_computed_schedule_belongs_to_the_version_that_was_read(post, posting, monkeypatch):
    compute = computed_schedule.make_installments
    raced = []

    def race(*arguments):
        if len(raced) < races:
            raced.append(sql(posting, "SELECT post_events('{1}', '{payment}', '{2020-03-01}', %s::numeric[])", [paid]))
        return compute(*arguments)

    monkeypatch.setattr(computed_schedule, "make_installments", race)
    races, paid = 1, "299.55"
    made = post(METHOD).json
    assert (made["version"], [each["amt"] for each in made["installments"]]) == (5, ["200.00"] * 3)
    races, paid = 1 + ATTEMPTS, "1.00"
    reply = post(METHOD, status=503)
    assert (len(raced), reply.headers["Retry-After"], stored(posting)) == (races, "1", 1)


@pytest.mark.parametrize(
    "members",
    [
        {"first_due_date": "2020-04-01", "end_of_month": True},
        {"first_due_date": "9999-12-01", "count": 2},
        {"first_due_date": "2020-03-01"},
    ],
)
def test_a_first_due_date_that_suits_no_loan_is_400_and_named(post, members):
    assert fields(post({**METHOD, **members}, status=400)) == {"first_due_date"}


def test_a_page_has_a_bounded_number_of_schedules(post, read, monkeypatch):
    monkeypatch.setattr(agreements, "MAX_SCHEDULES", 2)
    versions = [post().json["version"] for _ in range(3)]
    first = read({"limit": "100"}).json
    second = read({"cursor": first["next_cursor"], "limit": "100"}).json
    assert [[each["version"] for each in page["schedules"]] for page in (first, second)] == [versions[:2], versions[2:]]
    assert second["next_cursor"] is None


def test_computed_installments_whose_sum_is_too_large_name_the_method(client, post, writer):  # noqa: F811
    loan = {"loan_id": 7, "start_date": "2020-03-01", "initial_amt": "5000000000000000.00", "currency": "USD"}
    assert client.post("/api/v1/loan", json=loan, headers=writer).status_code == 201
    post({**RATE, "rate": "10"}, path="/api/v1/loan/7/terms")
    body = {**METHOD, "method": "bullet", "count": 30}
    assert fields(post(body, status=422, path="/api/v1/loan/7/schedule")) == {"method"}


def test_a_method_obeys_the_expected_version(post):
    post({**METHOD, "expected_version": 3})
    for version in (3, 5):
        reply = post({**METHOD, "expected_version": version}, status=412)
        assert (reply.json["type"], reply.json["version"]) == ("urn:loaner:problem:version-changed", 4)
    digest = "0f1e2d3c4b5a69788796a5b4"
    post(METHOD, If_Match=f'"1-{digest}", "4-{digest}"')
    post(METHOD, status=412, If_Match=f'"1-{digest}", "4-{digest}"')
    post(METHOD, status=412, If_Match='"x"')
    post(METHOD, If_Match="*")


def test_unknown_loans_are_404(post, read):
    for body in (GOOD, METHOD, {"reverses": 1}):
        assert post(body, path="/api/v1/loan/999/schedule", status=404)
    read(path="/api/v1/loan/999/schedule", status=404)
