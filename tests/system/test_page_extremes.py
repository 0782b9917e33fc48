"""Views of loans at the limits of the ledger: the largest amounts and texts, the first and the last day, no events."""

from contextlib import closing

import pytest

from service.bulk_load.loader import load
from service.postgres.connect import connect
from tests.support.agreements import post_terms
from tests.support.door import open_door
from tests.support.page_browser import DESKTOP, PHONE, look, overflow, violations

LOADED = "document.readyState === 'complete'"
pytestmark = pytest.mark.timeout(300)  # a browser is slow on a busy machine
LARGEST = "9999999999999999"
LONG = "W" * 200
RIGHT_TO_LEFT = "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 <b>x</b> " * 8
LOANS = f"""loan_id,start_date,initial_amt,currency
1,2020-01-01,1000.00,USD
2,0001-01-01,1,JPY
3,2020-01-01,1.001,BHD
4,2020-01-01,{LARGEST}.99,USD
5,9999-12-31,5.00,EUR
9223372036854775807,2020-01-01,10.00,USD
"""
EVENTS = f"""loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo
2,interest,0001-01-02,7,first,,
2,interest,9999-12-31,7,last,,
3,payment,2020-02-01,500.000,{LONG},,{LONG}
3,fee,2020-03-01,0.001,right,,{RIGHT_TO_LEFT.strip()}
4,payment,2020-02-01,{LARGEST}.98,payment,,
"""
VIEWS = ["/app/loan/1", "/app/loan/2", "/app/loan/3", "/app/loan/4", "/app/loan/5?date=9999-12-31",
         "/app/loan/9223372036854775807", "/app/loan/3/why", f"/app?q={LONG}", "/app",
         "/app/book?currency=JPY"]  # fmt: skip


@pytest.fixture(scope="module")
def origin(browser, databases, keys_dir, tmp_path_factory):  # without a browser, no service is started
    paths = [tmp_path_factory.mktemp("ledger") / name for name in ("loans.csv", "events.csv")]
    for path, content in zip(paths, (LOANS, EVENTS), strict=True):
        path.write_text(content, encoding="utf-8")
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load(connection, *paths)
            post_terms(connection, (4, "2020-01-01", "10"))
        with open_door(chosen, keys_dir) as door:
            yield f"http://127.0.0.1:{door.port}"


@pytest.fixture
def page(browser, origin, make_token):
    cookie = {"name": "loaner", "value": make_token(), "url": f"{origin}/app", "path": "/app"}
    browser.call("Network.setCookies", cookies=[cookie])
    return browser


@pytest.mark.parametrize(("width", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")])
@pytest.mark.parametrize("path", VIEWS)
def test_a_view_at_the_limits_is_whole(page, origin, path, width, scheme):
    look(page, width, scheme)
    page.open(f"{origin}{path}", LOADED)
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert violations(page) == []
    assert overflow(page) <= 0
    assert page.complaints() == []
    charts = page.run("return [...document.querySelectorAll('figure.chart')].map((each) => each.className)")
    assert set(charts) <= {"chart live"}


def test_a_chart_over_ten_thousand_years_has_dates(page, origin):
    watch = page.call("Page.addScriptToEvaluateOnNewDocument", source=(
        "window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {"
        " written.push(text); return write.call(this, text, ...rest); };"
    ))  # fmt: skip
    look(page)
    try:
        page.open(f"{origin}/app/loan/2?from=0001-01-01&to=9999-12-31", "document.querySelector('.u-over')")
        page.wait("written.length")
        assert {"2000", "4000", "6000", "8000"} <= set(page.run("return written"))
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=watch["identifier"])
