"""The views of a loan: what they show is what the API replies, and every mistake is a page that leads on."""

import re
import shlex
from html import unescape

import pytest

from tests.conftest import sql
from tests.support.filled_ledger import fill

VIEWS = ["/app/loan/1", "/app/loan/1/why"]
HOSTILE = (
    '</script><script>alert(1)</script>" onmouseover="alert(1)\' <img src=x onerror=alert(1)> {{ 7*7 }} \u202egnp.exe'
)
HOSTILE_SOURCE = "<!--<script>alert(1)</script>-->&lt;"
HOSTILE_NAME = "<b onclick=alert(1)>ann"


def get(client, path: str, status: int = 200) -> str:
    reply = client.get(path)
    assert reply.status_code == status, reply.text
    return reply.text


def amounts_in(text: str) -> list[str]:
    return re.findall(r'<data class="amt" value="([^"]*)">', text)


def section(text: str, heading: str) -> str:
    return text.partition(f'id="{heading}"')[2].partition("</section>")[0]


def rows_in(text: str) -> list[list[str]]:
    """Return the text of each cell of the statement's rows."""
    body = text.partition('<table class="statement"')[2].partition("<tbody")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub(r"<[^>]*>", " ", cell)).split())
            for cell in re.findall(r"<td.*?</td>", row, re.DOTALL)
        ]
        for row in rows
    ]


@pytest.mark.shared_ledger
@pytest.mark.parametrize("day", ["2019-12-05", "2020-01-31", "2020-02-29", "2020-03-01", "2035-01-01"])
def test_the_balance_and_its_parts_are_those_of_the_api(signed_in, bearer, day):
    reply = signed_in.get(f"/api/v1/loan/1/{day}?parts=true", headers=bearer).get_json()
    balance = section(get(signed_in, f"/app/loan/1?date={day}"), "balance")
    parts = reply["parts"]
    assert amounts_in(balance) == [reply["balance"], parts["principal"], parts["interest"], parts["fees"]]
    assert f'at the end of <time datetime="{day}"' in balance


@pytest.mark.shared_ledger
def test_the_composition_adds_up(signed_in):
    found = amounts_in(section(get(signed_in, "/app/loan/1?date=2020-03-01"), "why"))
    assert found == ["1000.00", "0.05", "10.00", "-110.50", "899.55"]


@pytest.mark.shared_ledger
def test_the_statement_has_the_latest_events_first(signed_in, bearer):
    reply = signed_in.get("/api/v1/loan/1/statement", headers=bearer).get_json()
    rows = rows_in(get(signed_in, "/app/loan/1"))
    assert [row[0] for row in rows] == [event["post_date"] for event in reversed(reply["events"])]
    text = get(signed_in, "/app/loan/1")
    entries = text.partition('<table class="statement"')[2].partition("</table>")[0]
    expected = [amount for event in reversed(reply["events"]) for amount in (event["signed_amt"], event["balance"])]
    assert amounts_in(entries) == expected


@pytest.mark.shared_ledger
def test_a_range_bounds_the_statement_and_the_chart(signed_in):
    text = get(signed_in, "/app/loan/1?from=2020-02-01&to=2020-02-29")
    assert [row[0] for row in rows_in(text)] == ["2020-02-29"]
    values = text.partition("data-key=")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    assert re.findall(r'datetime="([^"]*)"', values) == ["2020-02-01", "2020-02-29"]
    assert amounts_in(values)[::4] == ["1010.00", "899.50"]


@pytest.mark.shared_ledger
def test_the_explanation_has_the_digest_and_the_events_of_the_api(signed_in, bearer):
    reply = signed_in.get("/api/v1/loan/1/2020-02-29?explain=true", headers=bearer).get_json()
    text = get(signed_in, "/app/loan/1/why?date=2020-02-29")
    assert reply["digest"] in text
    assert [row[0] for row in rows_in(text)] == ["2019-12-05", *(event["post_date"] for event in reply["events"])]


@pytest.mark.shared_ledger
def test_before_its_start_a_loan_says_when_it_starts(signed_in):
    text = get(signed_in, "/app/loan/1?date=2019-01-01")
    assert 'The loan starts on <a href="/app/loan/1?date=2019-12-05">2019-12-05</a>' in text
    assert amounts_in(section(text, "balance")) == ["0.00"] * 4
    why = get(signed_in, "/app/loan/1/why?date=2019-01-01")
    assert "no event counts" in why
    assert rows_in(why) == [["No events."]]


@pytest.mark.shared_ledger
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("date=2020-02-30", 400, "expected a date that exists"),
        ("date=yesterday", 400, "expected a date written YYYY-MM-DD"),
        ("known_at=noon", 400, "expected a time such as"),
        ("known_at=2020-01-01T00:00&as_of_version=1", 400, "cannot be combined"),
        ("as_of_version=-1", 400, "expected a whole number"),
        ("as_of_version=99", 412, "Loan 1 has 3 records"),
        ("known_at=2000-01-01T00:00", 404, "or had none at the time"),
        ("known_at=2999-01-01T00:00", 412, "Answers are final only for times before 20"),
        ("page=0", 400, "expected a whole number from 1 on"),
        ("page=77", 400, "expected at most 1, the last page"),
        ("shade=red", 400, "unknown parameter"),
    ],
)
def test_each_mistake_is_a_page_that_leads_on(signed_in, view, query, status, detail):
    if view == VIEWS[0] or not query.startswith("from"):
        text = get(signed_in, f"{view}?{query}", status)
        assert detail in unescape(text)
        assert 'href="/app"' in text


@pytest.mark.shared_ledger
@pytest.mark.parametrize("path", ["/app/loan/1?from=2020-03-01&to=2020-01-01", "/app/loan/77", "/app/loan/77/why",
                                  "/app/loan/1/event/999999", "/app/loan/1/event/x", "/app/book?date=x",
                                  "/app/book?currency=dollars"])  # fmt: skip
def test_what_does_not_exist_is_a_page_that_leads_on(signed_in, path):
    reply = signed_in.get(path)
    assert reply.status_code in (400, 404)
    assert 'href="/app"' in reply.text


@pytest.mark.parametrize("path", [*VIEWS, "/app/book"])
def test_without_permission_nothing_is_shown(client, make_token, path):
    client.set_cookie("loaner", make_token(scopes="api:write"), path="/app")
    text = get(client, path, 403)
    assert "No permission" in text
    assert "1000.00" not in text


@pytest.mark.shared_ledger
def test_an_empty_field_of_a_form_counts_as_missing(signed_in):
    assert "899.55" in get(signed_in, "/app/loan/1?date=&from=&to=&known_at=&as_of_version=&page=")


@pytest.mark.shared_ledger
def test_a_version_is_shown_with_a_banner_and_a_way_back(signed_in):
    text = get(signed_in, "/app/loan/1?as_of_version=1&date=2020-03-01")
    assert "You are looking at the past." in text
    assert "This view is final" in text
    assert amounts_in(section(text, "balance"))[0] == "1010.00"
    assert '<a href="/app/loan/1?date=2020-03-01">Back to the present</a>' in text
    assert "You are looking at the past." not in get(signed_in, "/app/loan/1?date=2020-03-01")
    assert "its first 1 record," in text
    assert "none of its records" in get(signed_in, "/app/loan/1?as_of_version=0")


@pytest.fixture
def post(client, make_token):
    """Posts events to loan 1, and returns their transaction ids."""
    writer = {"Authorization": f"Bearer {make_token(scopes='api:read api:write', userId=HOSTILE_NAME)}"}

    def post(*events):
        base = {"event_type": "fee", "post_date": "2020-04-01", "amt": "5.00"}
        events = [{**base, **event} for event in events]
        reply = client.post("/api/v1/loan/1/events", json={"events": events}, headers=writer)
        assert reply.status_code == 201, reply.text
        return [event["tx_id"] for event in reply.get_json()["events"]]

    return post


def test_what_was_known_at_a_time_leaves_out_what_came_later(signed_in, post, posting):
    [(before,)] = sql(posting, "SELECT max(recorded_at) FROM loan_events WHERE loan_id = 1")
    post({"post_date": "2020-01-01"})
    known_at = before.isoformat().replace("+00:00", "Z")
    text = get(signed_in, f"/app/loan/1?known_at={known_at}&date=2020-03-01")
    assert amounts_in(section(text, "balance"))[0] == "899.55"
    assert "This is what had been recorded by" in text
    assert len(rows_in(text)) == 4
    assert len(rows_in(get(signed_in, "/app/loan/1"))) == 5


def test_the_time_in_a_row_leads_to_what_was_known_then(signed_in, post):
    post({"memo": "first"})
    post({"memo": "Another one"})
    text = get(signed_in, "/app/loan/1")
    [first] = [row for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL) if "first" in row]
    link = unescape(re.search(r'href="([^"]*known_at=[^"]*)"', first)[1])
    then = get(signed_in, link)
    assert "first" in then
    assert "Another one" not in then


def test_a_reversal_and_what_it_reverses_link_to_each_other(signed_in, post):
    [fee] = post({"memo": "Late payment"})
    [reversal] = post({"reverses": fee, "memo": "Waived"})
    text = get(signed_in, "/app/loan/1")
    rows = {row.partition('"')[0]: row for row in text.split('id="tx-')[1:]}
    assert f'<a class="link" href="#tx-{fee}">reverses {fee}</a>' in rows[str(reversal)]
    assert f'<a class="link" href="#tx-{reversal}">reversed by {reversal}</a>' in rows[str(fee)]
    assert "Reversal of fee" in rows[str(reversal)]
    before = get(signed_in, "/app/loan/1?as_of_version=4")
    assert "reversed by" not in before


def test_a_link_to_an_event_leads_to_its_page(signed_in, post):
    [fee] = post({"post_date": "2020-01-05"})
    later = post(*({"post_date": "2020-05-01"} for _ in range(120)))
    [reversal] = post({"reverses": fee, "post_date": "2020-06-01"})
    text = get(signed_in, "/app/loan/1")
    link = unescape(re.search(rf'href="([^"]*)">reverses {fee}<', text)[1])
    assert link == f"/app/loan/1/event/{fee}"
    seen = set()
    for tx_id in (fee, reversal, later[0], later[60], later[119]):
        reply = signed_in.get(f"/app/loan/1/event/{tx_id}?date=2020-03-01")
        target, _, anchor = reply.headers["Location"].partition("#")
        assert (reply.status_code, anchor) == (303, f"tx-{tx_id}")
        assert "date=2020-03-01" in target
        assert f'id="{anchor}"' in get(signed_in, target)
        seen.add(target)
    assert len(seen) == 3


def test_the_pages_have_every_event_once(signed_in, post):
    post(*({"post_date": "2020-05-01"} for _ in range(120)))
    for view, first in (("/app/loan/1", "2020-05-01"), ("/app/loan/1/why", "2019-12-05")):
        path, rows = view, []
        while path:
            text = get(signed_in, path)
            rows += rows_in(text)
            following = re.search(r'rel="next" href="([^"]*)"', text)
            path = following and unescape(following[1]).partition("#")[0]
        assert rows[0][0] == first
        assert len(rows) == 124
        assert len({row[1] for row in rows}) == 124


def test_hostile_words_of_others_are_only_words(signed_in, post):
    post({"memo": HOSTILE[:200], "source_id": f"r {HOSTILE_SOURCE}"})
    for view in VIEWS:
        text = get(signed_in, view)
        assert "<script>alert" not in text
        assert "<img" not in text
        assert not re.search(r"<[^>]*\sonerror=|<[^>]*\sonmouseover=", text)
        assert "49" not in re.sub(r"[0-9.:-]{3,}", "", section(text, "statement"))  # the template in the memo
        memo = re.search(r'<bdi class="memo">(.*?)</bdi>', text, re.DOTALL)[1]
        assert unescape(memo) == HOSTILE[:200]  # isolated, so that it cannot turn the text around it
        assert unescape(re.search(r'<bdi class="receipt">(.*?)</bdi>', text)[1]) == f"r {HOSTILE_SOURCE}"
        assert HOSTILE_NAME in [unescape(name) for name in re.findall(r"by <bdi>(.*?)</bdi>", text)]
    data = get(signed_in, "/app/api/v1/loan/1/statement?format=csv&provenance=true")
    assert f'"r {HOSTILE_SOURCE}"' in data or f",r {HOSTILE_SOURCE}," in data


def test_a_formula_is_no_formula_in_the_data(signed_in, post):
    post({"source_id": "=HYPERLINK(1)"})
    data = get(signed_in, "/app/api/v1/loan/1/statement?format=csv&provenance=true")
    assert ",'=HYPERLINK(1)," in data
    assert '<bdi class="receipt">=HYPERLINK(1)</bdi>' in get(signed_in, "/app/loan/1")


DATA = ["loan/1", "loan/1/2020-02-29?parts=true", "loan/1/2020-02-29?explain=true&provenance=true", "loan/1/history",
        "loan/1/statement?provenance=true", "loan/1/statement?format=csv", "loan/1/events", "portfolio/2020-02-29",
        "loan/1/2020-02-29?format=csv", "loan/1/history?format=csv", "loan/1/events?format=csv",
        "portfolio/2020-02-29?format=csv", "loans"]  # fmt: skip


@pytest.mark.shared_ledger
@pytest.mark.parametrize("path", DATA)
def test_the_data_is_that_of_the_api(signed_in, bearer, path):
    reply = signed_in.get(f"/app/api/v1/{path}")
    expected = signed_in.get(f"/api/v1/{path}", headers=bearer)
    assert (reply.status_code, reply.content_type) == (200, expected.content_type)
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers.get("Content-Disposition") == expected.headers.get("Content-Disposition")
    if path != "loans":  # its cursor names the moment
        assert reply.data == expected.data


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("path", "names", "json_only"),
    [
        ("/app/loan/1", ["Balance", "Balance over time", "Statement", "Events as recorded"], []),
        ("/app/loan/1/why", ["Explanation", "Statement"], ["Explanation"]),
    ],
)
def test_each_view_is_json_and_csv_except_for_explanations(signed_in, path, names, json_only):
    data = get(signed_in, path).partition("Get this as data")[2]
    items = re.findall(r"<dt>([^<]*)(.*?)</dt>\s*<dd>(.*?)</dd>", data, re.DOTALL)
    assert [name.strip() for name, _, _ in items] == names
    for name, links, commands in items:
        expected = ["application/json"] if name.strip() in json_only else ["application/json", "text/csv"]
        urls = [unescape(url) for url in re.findall(r'href="([^"]*)"', links)]
        assert [signed_in.get(url).mimetype for url in urls] == expected
        assert [unescape(url) for url in re.findall(r"http://localhost(/api/[^'\s]*?)(?:&#39;|<)", commands)] == [
            url.removeprefix("/app") for url in urls
        ]


def test_a_list_that_is_too_long_for_one_page_says_so(signed_in, admin):
    fill(admin, 500, 500, 1001)
    assert "Events as recorded, the first 1000 of 1001" in get(signed_in, "/app/loan/500")
    rows = get(signed_in, "/app/api/v1/loan/500/events?limit=1000&format=csv").splitlines()
    assert len(rows) == 1 + 1000


@pytest.mark.shared_ledger
def test_the_data_is_only_read(signed_in):
    assert signed_in.post("/app/api/v1/balances", json={}).status_code in (404, 405)
    assert signed_in.post("/app/api/v1/loan/1/events", json={}).status_code == 405


@pytest.mark.shared_ledger
def test_without_a_cookie_the_data_leads_to_the_sign_in(client, bearer):
    for headers in ({}, bearer):
        reply = client.get("/app/api/v1/loan/1", headers=headers)
        assert reply.status_code == 303
        assert reply.headers["Location"].startswith("/app/sign-in?next=")


@pytest.mark.shared_ledger
@pytest.mark.parametrize("path", ["/app/loan/1?date=2020-02-29&from=2020-01-01", "/app/loan/1?as_of_version=2",
                                  "/app/loan/1/why?date=2020-02-29", "/app/book?date=2020-02-29"])  # fmt: skip
def test_each_link_and_each_command_of_a_view_works(signed_in, bearer, path):
    text = get(signed_in, path)
    for link in {unescape(link) for link in re.findall(r'\shref="(/app/[^"#]*)', text)}:
        reply = signed_in.get(link)
        assert reply.data or reply.status_code == 303, link
        assert reply.status_code in (200, 303), link
    for form in re.findall(r'<form[^>]*method="get".*?</form>', text, re.DOTALL):
        names = re.findall(r'name="(\w+)"[^>]*value="([^"]*)"', form)
        target = re.search(r'action="([^"]*)"', form)[1].partition("#")[0]
        assert signed_in.get(target, query_string=dict(names)).status_code == 200, (target, names)
    commands = [unescape(each) for each in re.findall(r'<code class="command">curl (.*?)</code>', text)]
    assert commands
    for command in commands:
        url = shlex.split(command)[-1]
        assert url.startswith("http://localhost/api/v1/")
        reply = signed_in.get(url.removeprefix("http://localhost"), headers=bearer)
        assert reply.data, command
        assert reply.status_code == 200, command


@pytest.mark.shared_ledger
def test_behind_a_gateway_links_have_its_prefix(signed_in, make_token):
    forwarded = {"X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "203.0.113.9"}
    signed_in.set_cookie("loaner", make_token(), path="/loaner/app")
    for view in (*VIEWS, "/app/book"):
        text = signed_in.get(
            view,
            headers=forwarded,
        ).text
        paths = re.findall(r'(?:href|src|action|data-href)="(/[^"]*)"', text)
        assert paths
        assert all(path.startswith("/loaner/") for path in paths), view
        assert "http://localhost/loaner/api/v1/" in text


def test_a_repeated_state_is_kept_in_every_link(signed_in):
    text = get(signed_in, "/app/loan/1?as_of_version=2&date=2020-02-29")
    kept = [unescape(link) for link in re.findall(r'href="(/app/loan/1[^"#]*)', text)]
    leading_back = [link for link in kept if "as_of_version=2" not in link and "known_at" not in link]
    assert leading_back == ["/app/loan/1?date=2020-02-29"]  # back to the present
