"""The replies about one loan as CSV: the members of the JSON, one row for each entry of its list."""

import csv
from contextlib import closing
from io import StringIO

import pytest

from service.postgres.connect import connect
from tests.conftest import serving, sql
from tests.support.agreements import post_events, post_schedules, post_terms
from tests.support.application import build_app

LOANS = {1: "USD", 2: "JPY", 3: "KWD", 4: "USD"}
FORMULA = '=HYPERLINK("http://example.com","a")'
RECORD = ["version", "recorded_at", "posted_by", "source_id", "memo", "reverses", "reversed_by", "applies",
          "effective_date"]  # fmt: skip
METHOD = ["method", "count", "first_due_date", "every_months", "end_of_month"]
EVENT = ["tx_id", "version", "event_type", "post_date", "amt", "recorded_at", "source_id", "reverses", "reversed_by",
         "posted_by", "memo"]  # fmt: skip
NEGOTIATED = ["history", "payoff/2020-03-10", "arrears/2020-03-10", "events", "terms", "schedule"]
ROUTES = ["2020-03-10", *NEGOTIATED]


@pytest.fixture(scope="module")
def ledger(databases):
    """Loans in three currencies with terms, schedules and events; loan 4 has none of them."""
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            sql(
                connection,
                "SELECT create_loans('{1,2,3,4}', '{2020-01-01,2020-01-01,2020-01-01,2020-01-01}',"
                " '{36500.00,36500,36500.000,100.00}', '{USD,JPY,KWD,USD}')",
            )
            for loan_id, cents in ((1, ".25"), (2, ""), (3, ".125")):
                post_terms(connection, (loan_id, "2020-01-01", "0.10"), source_id="+7", memo='said "no", é')
                post_terms(connection, (loan_id, "2020-02-01", "0.2"), allocation=("interest", "fees", "principal"))
                post_terms(connection, (loan_id, None, None), day_count=None, grace_days=None, reverses=2)
                due = [("2020-02-01", f"310{cents}"), ("2020-03-01", f"290{cents}"), ("2020-04-01", f"310{cents}")]
                post_schedules(connection, (loan_id, "2020-01-01", due), source_id="a,b", posted_by="@ann")
                post_events(
                    connection, loan_id, ("fee", "2020-02-10", f"25{cents}"), ("payment", "2020-02-15", f"400{cents}"),
                    ("interest", "2020-02-20", "3"), ("payment", "2020-08-01", "50000"),
                )  # fmt: skip
        yield settings


@pytest.fixture(scope="module")
def app(ledger, keys_dir, make_token):
    """An application over the database, in which a caller with a hostile name has posted."""
    app = build_app(serving(ledger, keys_dir))
    writer = {"Authorization": f"Bearer {make_token(scopes='api:read api:write', userId=FORMULA)}"}
    client = app.test_client()
    for loan_id in (1, 2, 3):
        fee = {"event_type": "fee", "post_date": "2020-02-21", "amt": "7"}
        event = {**fee, "source_id": '-1,"2"', "memo": "a, b"}
        reply = client.post(f"/api/v1/loan/{loan_id}/events", json={"events": [event]}, headers=writer)
        undo = {**fee, "reverses": reply.json["events"][0]["tx_id"], "source_id": "＝1"}
        assert client.post(f"/api/v1/loan/{loan_id}/events", json={"events": [undo]}, headers=writer).status_code == 201
        computed = {"effective_date": "2020-05-01", "method": "annuity", "count": 3, "first_due_date": "2020-06-01",
                    "every_months": 1, "memo": "a new plan"}  # fmt: skip
        path = f"/api/v1/loan/{loan_id}/schedule"
        assert client.post(path, json=computed, headers=writer).status_code == 201
    return app


@pytest.fixture
def client(app):
    """A client of the application."""
    return app.test_client()


@pytest.fixture
def get(client, bearer):
    """Requests a view of a loan."""

    def get(path, query=None, status=200, loan_id=1, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = f"/api/v1/loan/{loan_id}/{path}"
        reply = client.get(path, query_string=query or {}, headers={**bearer, **named})
        assert reply.status_code == status, reply.text
        return reply

    return get


@pytest.fixture
def read(get):
    """Returns the members of a view in JSON, and its columns and rows in CSV."""

    def read(path, query=None, loan_id=1):
        reply = get(path, {**(query or {}), "format": "csv"}, loan_id=loan_id)
        assert reply.content_type == "text/csv; charset=utf-8; header=present"
        rows = csv.DictReader(StringIO(reply.text, newline=""))
        return get(path, query, loan_id=loan_id).json, rows.fieldnames, list(rows)

    return read


def to_rows(columns, members):
    """Return rows as CSV has them, from members as JSON has them."""
    return [{column: to_field(column, row.get(column)) for column in columns} for row in members]


def to_field(column, value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if column in ("source_id", "memo", "posted_by") and value[0] in "=+-@＝":
        return f"'{value}"
    return str(value)


@pytest.mark.parametrize("loan_id", LOANS)
def test_a_balance_is_a_row(read, loan_id):
    columns = ["loan_id", "date", "balance", "currency", "version"]
    members, *found = read("2020-03-10", loan_id=loan_id)
    assert found == [columns, to_rows(columns, [members])]
    columns += ["fees", "interest", "principal", "allocation"]
    members, *found = read("2020-03-10", {"parts": "true"}, loan_id)
    row = members | members["parts"] | {"allocation": ">".join(members["allocation"])}
    assert found == [columns, to_rows(columns, [row])]
    assert row["allocation"] == "fees>interest>principal"
    decimals = {"USD": 2, "JPY": 0, "KWD": 3}[LOANS[loan_id]]
    assert len(found[1][0]["balance"].partition(".")[2]) == decimals


@pytest.mark.parametrize("loan_id", LOANS)
@pytest.mark.parametrize(
    ("query", "more"),
    [
        ({}, []),
        ({"step": "month", "payoff": "true"}, ["interest_uncharged", "payoff"]),
        ({"arrears": "true", "from": "0001-01-01", "to": "0001-01-01"}, ["past_due", "days_past_due"]),
        ({"payoff": "true", "arrears": "true"}, ["interest_uncharged", "payoff", "past_due", "days_past_due"]),
    ],
)
def test_a_history_has_a_row_for_each_point(read, loan_id, query, more):
    columns = ["loan_id", "currency", "version", "date", "balance", *more]
    members, *found = read("history", {"to": "2020-12-31", **query}, loan_id)
    assert found == [columns, to_rows(columns, [members | point for point in members["balances"]])]
    assert found[1]


@pytest.mark.parametrize("loan_id", LOANS)
def test_a_payoff_has_a_row_for_the_date_and_one_for_each_later_day(read, loan_id):
    loan = ["loan_id", "date", "currency", "version"]
    columns = [*loan, "principal", "interest_charged", "interest_uncharged", "fees", "total", "per_diem"]
    members, *found = read("payoff/2020-03-10", loan_id=loan_id)
    assert found == [columns, to_rows(columns, [members])]
    members, *found = read("payoff/2020-03-10", {"good_through": "2020-03-13"}, loan_id)
    later = [{name: members[name] for name in loan} | total for total in members["totals"]]
    assert [row["date"] for row in later] == ["2020-03-11", "2020-03-12", "2020-03-13"]
    assert found == [columns, to_rows(columns, [members, *later])]
    assert [row["per_diem"] for row in found[1][1:]] == [""] * 3


@pytest.mark.parametrize("loan_id", LOANS)
@pytest.mark.parametrize(("day", "unsatisfied"), [("2019-12-31", 0), ("2020-03-10", 2), ("2020-04-30", 2)])
def test_arrears_have_a_row_for_each_unsatisfied_installment_and_then_what_is_due(read, loan_id, day, unsatisfied):
    loan = ["loan_id", "date", "currency", "version"]
    sums = ["due", "past_due", "days", "bucket", "oldest_due_date"]
    columns = [*loan, "due_date", "amt", "satisfied", *sums]
    members, *found = read(f"arrears/{day}", loan_id=loan_id)
    installments = [{name: members[name] for name in loan} | each for each in members["installments"]]
    assert len(installments) == (0 if loan_id == 4 else unsatisfied)
    assert found == [columns, to_rows(columns, [*installments, members])]


@pytest.mark.parametrize("loan_id", LOANS)
def test_events_have_a_row_each_and_none_is_a_formula(read, loan_id):
    columns = ["loan_id", "currency", *EVENT]
    members, *found = read("events", loan_id=loan_id)
    rows = [members | event for event in members["events"]]
    assert found == [columns, to_rows(columns, rows)]
    assert len(rows) == (0 if loan_id == 4 else 6)
    if rows:
        fee, reversal = found[1][-2:]
        assert (fee["source_id"], fee["memo"], fee["posted_by"]) == ('\'-1,"2"', "a, b", f"'{FORMULA}")
        assert (reversal["source_id"], reversal["memo"], reversal["reverses"]) == ("'＝1", "", fee["tx_id"])
        assert fee["reversed_by"] == reversal["tx_id"]


@pytest.mark.parametrize("loan_id", LOANS)
def test_terms_have_a_row_each(read, loan_id):
    columns = ["loan_id", *RECORD, "rate", "day_count", "allocation", "grace_days"]
    members, *found = read("terms", loan_id=loan_id)
    rows = [members | terms | {"allocation": ">".join(terms["allocation"])} for terms in members["terms"]]
    assert found == [columns, to_rows(columns, rows)]
    assert len(rows) == (0 if loan_id == 4 else 3)
    if rows:
        assert [row["applies"] for row in found[1]] == ["true", "false", "false"]
        assert [row["source_id"] for row in found[1]] == ["'+7", "", ""]


@pytest.mark.parametrize("loan_id", LOANS)
def test_a_schedule_has_a_row_for_each_installment(read, loan_id):
    columns = ["loan_id", "currency", *RECORD, "due_date", "amt", *METHOD]
    members, *found = read("schedule", loan_id=loan_id)
    rows = []
    for schedule in members["schedules"]:
        method = schedule.pop("method") or {}
        method |= {"method": method.get("name")}
        rows += [members | schedule | method | installment for installment in schedule.pop("installments")]
    assert found == [columns, to_rows(columns, rows)]
    assert len(rows) == (0 if loan_id == 4 else 6)
    if rows:
        posted, computed = found[1][0], found[1][-1]
        assert [posted[name] for name in METHOD] == [""] * 5
        assert [computed[name] for name in METHOD] == ["annuity", "3", "2020-06-01", "1", "false"]
        assert (posted["posted_by"], computed["posted_by"]) == ("'@ann", f"'{FORMULA}")


@pytest.mark.parametrize(("path", "limit"), [("events", 4), ("terms", 2), ("schedule", 1)])
def test_pages_are_those_of_the_json_and_a_header_leads_to_the_next(client, get, bearer, path, limit):
    state = {"as_of_version": 11}
    whole = get(path, {"format": "csv", **state})
    page = get(path, {"format": "csv", "limit": limit, **state})
    as_json = get(path, {"limit": limit, **state})
    url = page.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert url == f"/api/v1/loan/1/{path}?limit={limit}&format=csv&cursor={as_json.json['next_cursor']}"
    following = client.get(url, headers=bearer)
    assert (following.status_code, following.mimetype) == (200, "text/csv")
    first, second = (reply.text.splitlines() for reply in (page, following))
    assert first[0] == second[0]
    assert [*first, *second[1:]] == whole.text.splitlines()
    assert ["Link" in reply.headers for reply in (whole, page, following, as_json)] == [False, True, False, False]


@pytest.mark.parametrize("path", NEGOTIATED)
@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        ("text/csv", {}, "text/csv"),
        ("text/csv, application/json;q=0.9", {}, "text/csv"),
        ("text/html, */*;q=0.8", {}, "application/json"),
        ("image/png", {}, "application/json"),
        ("text/csv", {"format": "json"}, "application/json"),
        ("application/json", {"format": "csv"}, "text/csv"),
    ],
)
def test_accept_and_format_select_the_media_type(get, path, accept, query, expected):
    reply = get(path, query, Accept=accept)
    assert (reply.mimetype, reply.headers["Vary"]) == (expected, "Accept")


@pytest.mark.parametrize("path", ["/api/v1/loan/1/2020-03-10", "/1/2020-03-10"])
def test_only_format_selects_the_media_type_of_a_balance(client, bearer, path):
    for query, expected in (
        ("", "application/json"),
        ("?format=csv", "text/csv"),
        ("?format=json", "application/json"),
    ):
        reply = client.get(f"{path}{query}", headers={**bearer, "Accept": "text/csv"})
        assert (reply.status_code, reply.mimetype, "Vary" in reply.headers) == (200, expected, False)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("2020-03-10", "loan-2-2020-03-10.csv"),
        ("history?from=2020-01-01&to=2020-02-01", "loan-2-history-2020-01-01-2020-02-01.csv"),
        ("payoff/2020-03-10", "loan-2-payoff-2020-03-10.csv"), ("arrears/2020-03-10", "loan-2-arrears-2020-03-10.csv"),
        ("events", "loan-2-events.csv"), ("terms", "loan-2-terms.csv"), ("schedule", "loan-2-schedules.csv"),
    ],
)  # fmt: skip
def test_a_file_name_is_suggested_for_csv_only(client, bearer, path, name):
    url = f"/api/v1/loan/2/{path}{'&' if '?' in path else '?'}format="
    assert client.get(f"{url}csv", headers=bearer).headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "Content-Disposition" not in client.get(f"{url}json", headers=bearer).headers


@pytest.mark.parametrize("path", ROUTES)
def test_a_matching_if_none_match_is_304(get, path):
    reply = get(path, {"format": "csv"})
    assert reply.headers["ETag"].startswith('"11-')
    assert "As-Of" in reply.headers
    assert reply.headers["Cache-Control"] == "private, no-cache"
    again = get(path, {"format": "csv"}, 304, If_None_Match=reply.headers["ETag"])
    assert (again.data, again.headers["ETag"]) == (b"", reply.headers["ETag"])
    as_json = get(path, If_None_Match=reply.headers["ETag"])
    assert as_json.headers["ETag"] != reply.headers["ETag"]
    assert "As-Of" not in get(path, {"format": "csv", "as_of_version": 9}).headers


@pytest.mark.parametrize("path", ROUTES)
def test_the_head_of_csv_is_that_of_its_reply(client, bearer, path):
    url = f"/api/v1/loan/1/{path}?format=csv&as_of_version=9"
    whole, head = client.get(url, headers=bearer), client.head(url, headers=bearer)
    assert (head.status_code, head.data) == (200, b"")
    for reply in (whole, head):
        del reply.headers["X-Request-ID"]
    assert list(head.headers) == list(whole.headers)


@pytest.mark.parametrize("path", ROUTES)
def test_errors_are_problems_also_for_csv(get, path):
    for query, status, loan_id in (
        ({}, 404, 999), ({"as_of_version": "99"}, 412, 1), ({"x": "1"}, 400, 1), ({"min_version": "x"}, 400, 1),
    ):  # fmt: skip
        reply = get(path, {"format": "csv", **query}, status, loan_id, Accept="text/csv")
        assert reply.mimetype == "application/problem+json"
    reply = get(path, {"format": "xml"}, 400)
    assert [error["field"] for error in reply.json["errors"]] == ["format"]


@pytest.mark.parametrize("path", ROUTES)
def test_the_example_of_the_document_has_the_columns_of_the_reply(client, get, path):
    name = path.replace("2020-03-10", "{date}")
    replies = client.get("/api/v1/openapi.json").json["paths"][f"/api/v1/loan/{{loan_id}}/{name}"]["get"]["responses"]
    example = list(csv.reader(StringIO(replies["200"]["content"]["text/csv"]["example"], newline="")))
    assert example[0] == get(path, {"format": "csv"}).text.splitlines()[0].split(",")
    assert {len(row) for row in example} == {len(example[0])}


def test_an_explanation_is_json_only(get):
    for path in ("2020-03-10", "payoff/2020-03-10"):
        reply = get(path, {"explain": "true", "format": "csv"}, 400)
        assert reply.json["errors"] == [{"field": "explain", "detail": "not allowed with CSV: request JSON"}]
        assert "digest" in get(path, {"explain": "true"}).json
        get(path, {"explain": "false", "format": "csv"})
        assert "digest" in get(path, {"explain": "true"}, Accept="text/csv").json
