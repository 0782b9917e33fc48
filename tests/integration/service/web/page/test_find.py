"""Finding loans on the page: by number, by receipt, by filters, in pages, and as data."""

import csv
import re
from html import unescape
from io import StringIO
from urllib.parse import urlencode

import pytest

from tests.conftest import sql

POST = "SELECT post_events(ARRAY[%s], ARRAY['fee'], ARRAY['2020-06-02'::date], ARRAY[1], ARRAY[%s])"
HOSTILE = """<img src=x onerror=alert(1)>"'=1+1 & {{ 7*7 }}"""


def loans_in(reply) -> list[int]:
    return [int(found) for found in re.findall(r'<th scope="row"[^>]*><a [^>]*>(\d+)</a>', reply.text)]


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3]),
        ("currency=usd&state=&balance_from=", [1, 2, 3]),
        ("currency=EUR", []),
        ("start_from=2019-12-06&start_to=2020-05-31", [2]),
        ("state=open&date=2019-12-05", [1]),
        ("balance_from=50&balance_to=899.55", [1, 3]),
        ("balance_to=-500", [2]),
        ("balance_from=-0.01&balance_to=50.00", [3]),
        ("balance_from=900&date=2020-02-01", [1]),
    ],
)
def test_filters_select_loans(signed_in, query, expected):
    reply = signed_in.get(f"/app?{query}")
    assert reply.status_code == 200, reply.text
    assert loans_in(reply) == expected


@pytest.mark.shared_ledger
def test_a_number_leads_to_the_loan(signed_in):
    assert signed_in.get("/app?q=2").headers["Location"] == "/app/loan/2"
    assert signed_in.get("/app?q=%232&date=2020-07-01").headers["Location"] == "/app/loan/2?date=2020-07-01"


@pytest.mark.shared_ledger
@pytest.mark.parametrize("text", ["77", "nothing", "99999999999999999999999", "-1", "%", "'; DROP TABLE loans; --"])
def test_what_is_not_found_says_so(signed_in, text):
    reply = signed_in.get("/app", query_string={"q": text})
    assert reply.status_code == 200
    assert "No loan has this number, and no event has this receipt." in reply.text


def test_a_receipt_lists_every_loan_that_has_it(signed_in, posting):
    for loan_id, receipt in ((1, "R-1"), (3, "R-1"), (2, "r-1")):
        sql(posting, POST, loan_id, receipt)
    reply = signed_in.get("/app?q=R-1&date=2020-07-01")
    assert loans_in(reply) == [1, 3]
    assert "fee of <time" in reply.text
    assert loans_in(signed_in.get("/app?q=r-1")) == [2]


def test_a_receipt_that_is_also_the_number_of_a_loan_shows_both(signed_in, posting):
    sql(posting, POST, 2, "3")
    reply = signed_in.get("/app?q=3")
    assert loans_in(reply) == [2]
    assert 'A loan has this number, too: <a href="/app/loan/3">loan 3</a>' in reply.text


def test_a_hostile_receipt_is_text(signed_in, posting):
    sql(posting, POST, 1, HOSTILE)
    for query in ({"q": HOSTILE}, {"source_id": HOSTILE}, {"q": HOSTILE + "x"}):
        text = signed_in.get("/app", query_string=query).text
        assert "<img" not in text
        assert "{{ 7*7 }}" in text
        assert "onerror=alert(1)>" not in text
    assert loans_in(signed_in.get("/app", query_string={"q": HOSTILE})) == [1]


@pytest.mark.shared_ledger
def test_pages_lead_on_and_are_links(signed_in):
    first = signed_in.get("/app?limit=2&currency=USD&date=2020-07-01")
    assert loans_in(first) == [1, 2]
    address = unescape(re.search(r'rel="next" href="([^"]+)"', first.text)[1])
    second = signed_in.get(address)
    assert loans_in(second) == [3]
    assert "Next page" not in second.text
    assert "First page" in second.text
    assert '<option value="de-DE"' in second.text


@pytest.mark.shared_ledger
def test_what_is_shown_is_also_data_and_the_command_is_that_of_the_api(signed_in, client, bearer):
    page = signed_in.get("/app?currency=USD&balance_from=60&date=2020-07-01").text
    json_link, csv_link = (unescape(each) for each in re.findall(r'href="(/app/api/v1/loans[^"]*)"', page))
    assert [loan["loan_id"] for loan in signed_in.get(json_link).json["loans"]] == [1]
    reply = signed_in.get(csv_link)
    assert [row["loan_id"] for row in csv.DictReader(StringIO(reply.text))] == ["1"]
    assert reply.headers["Content-Disposition"] == 'attachment; filename="loans-2020-07-01.csv"'
    commands = [unescape(each) for each in re.findall(r'<code class="command">(.*?)</code>', page)]
    addresses = [re.search(r"'http://localhost(/api/v1/[^']*)'", command)[1] for command in commands]
    assert client.get(addresses[0], headers=bearer).data == signed_in.get(json_link).data
    assert client.get(addresses[1], headers=bearer).data == reply.data


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("date=2020-02-30", "Expected a date that exists"),
        ("date=tomorrow", "Expected a date written YYYY-MM-DD."),
        ("currency=dollar", "Expected three capital letters"),
        ("balance_from=1,000", "Expected an amount such as 1000.00"),
        ("balance_from=2&balance_to=1", "This is above the end of the range."),
        ("start_from=2020-01-02&start_to=2020-01-01", "This is above the end of the range."),
        ("q=" + "x" * 201, "Expected 1 to 200 printable characters."),
        ("cursor=x", "This page of the list cannot be shown any more"),
        ("limit=0", "Expected a whole number from 1 to 1000."),
        ("state=lost", "Expected one of not_started, open, closed."),
    ],
)
def test_a_mistake_is_shown_beside_its_field_and_keeps_the_others(signed_in, query, shown):
    reply = signed_in.get(f"/app?{query}" if "balance_to" in query else f"/app?{query}&balance_to=1")
    assert reply.status_code == 400
    assert shown in reply.text
    assert 'name="balance_to" type="text" value="1"' in reply.text


@pytest.mark.shared_ledger
def test_the_api_finds_the_same(client, bearer):
    def find(**query):
        reply = client.get(f"/api/v1/loans?{urlencode(query)}", headers=bearer)
        assert reply.status_code == 200, reply.text
        return reply.json

    assert [loan["loan_id"] for loan in find(balance_from="50", balance_to="899.55")["loans"]] == [1, 3]
    assert find(source_id="nothing")["loans"] == []
    page = find(balance_from="-9999", limit="2")
    assert [loan["loan_id"] for loan in find(cursor=page["next_cursor"], limit="2")["loans"]] == [3]
    other = client.get(f"/api/v1/loans?cursor={page['next_cursor']}&balance_from=1", headers=bearer)
    assert other.status_code == 400
