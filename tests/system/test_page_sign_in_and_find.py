"""The page in a real browser: signing in, finding loans, amounts that copy as plain numbers, and axe-core."""

import json
from contextlib import closing

import pytest

from service.postgres.connect import connect
from tests.support.door import CLIENT, CLIENT_SECRET, open_door
from tests.support.page_browser import DESKTOP, PHONE, look, overflow, use_scripts, violations
from tests.support.page_ledger import LATE, load_page_ledger

READY = "document.readyState === 'complete'"
WIDTHS = pytest.mark.parametrize("width", [DESKTOP, PHONE])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.fixture(scope="module")
def door(browser, databases, keys_dir, tmp_path_factory):  # without a browser, no service is started
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load_page_ledger(connection, tmp_path_factory.mktemp("ledger"))
        with open_door(chosen, keys_dir) as door:
            yield door


@pytest.fixture
def page(browser, door):
    """A page of a browser that nobody has signed in with."""
    browser.call("Network.clearBrowserCookies")
    look(browser)
    return browser


@pytest.fixture
def signed_in(page, door, make_token):
    cookie = {"name": "loaner", "value": make_token(), "url": address(door), "path": "/app", "httpOnly": True}
    page.call("Network.setCookies", cookies=[{**cookie, "sameSite": "Strict"}])
    return page


def address(door, path: str = "/app") -> str:
    return f"http://127.0.0.1:{door.port}{path}"


def submit(page, selector: str, ready: str) -> None:
    page.click(selector)
    page.wait(f"{READY} && {ready}")


def sign_in(page, secret: str, ready: str) -> None:
    page.type("#client_id", CLIENT)
    page.type("#client_secret", secret)
    submit(page, "form[aria-labelledby=by-client] button", ready)


@WIDTHS
def test_a_person_signs_in_is_led_to_where_they_were_going_and_signs_out(page, door, width):
    look(page, width)
    page.open(address(door, "/app/sign-in?next=%2Fapp%3Fcurrency%3DEUR"), READY)
    sign_in(page, "wrong", "document.querySelector('[role=alert]')")
    assert "secret is wrong" in page.text()
    assert page.run("return document.querySelector('#client_id').value") == CLIENT
    page.run("document.querySelector('#client_id').value = ''")
    sign_in(page, CLIENT_SECRET, "location.search === '?currency=EUR'")
    assert page.run("return document.querySelectorAll('tbody tr').length") == 2
    assert page.run("return document.cookie") == ""  # HttpOnly
    submit(page, ".account button", "location.pathname === '/app/sign-in'")
    page.call("Page.navigate", url=address(door))
    page.wait("location.pathname === '/app/sign-in'")
    assert page.complaints() == []


def test_a_form_of_another_origin_does_not_sign_in(page, door):
    fields = f"<input name=client_id value={CLIENT}><input name=client_secret value={CLIENT_SECRET}>"
    page.open(f"data:text/html,<form method=post action={address(door, '/app/sign-in')}>{fields}</form>", READY)
    page.run("document.forms[0].submit()")
    page.wait(f"{READY} && document.querySelector('h1') && location.pathname === '/app/sign-in'")
    assert "This form came from elsewhere" in page.text()
    page.call("Page.navigate", url=address(door))
    page.wait("location.pathname === '/app/sign-in'")


def test_a_link_on_another_site_opens_the_view(signed_in, door):
    target = address(door, f"/app/loan/{LATE}")
    signed_in.open(f"data:text/html,<a href='{target}'>x</a>", READY)
    signed_in.click("a")
    signed_in.wait(f"{READY} && document.querySelector('h1') && document.title.includes('{LATE}')")


@WIDTHS
def test_a_person_finds_a_loan_by_its_number_and_by_a_receipt(signed_in, door, width):
    look(signed_in, width)
    signed_in.open(address(door), READY)
    signed_in.type("#q", str(LATE))
    submit(signed_in, ".search button", f"location.pathname === '/app/loan/{LATE}'")
    signed_in.open(address(door), READY)
    signed_in.type("#q", f"RCP-2501-{LATE}")
    submit(signed_in, ".search button", "document.querySelector('.receipt')")
    assert signed_in.run("return document.querySelectorAll('tbody tr').length") == 1
    assert "payment of 2025-01" in signed_in.text()
    submit(signed_in, "tbody a", f"location.pathname === '/app/loan/{LATE}'")
    assert signed_in.complaints() == []


def test_filters_and_pages_work_without_scripts(signed_in, door):
    use_scripts(signed_in, False)
    try:
        signed_in.open(address(door, "/app?currency=USD&limit=5"), READY)
        first = signed_in.run("return document.querySelector('tbody th').innerText")
        submit(signed_in, "a[rel=next]", "location.search.includes('cursor')")
        assert signed_in.run("return document.querySelector('tbody th').innerText") != first
    finally:
        use_scripts(signed_in, True)


@pytest.mark.parametrize(("language", "shown"), [("de-DE", "1.234.567,50"), ("en-IN", "12,34,567.50"), ("en-US", None)])
def test_amounts_are_copied_as_plain_numbers(signed_in, door, language, shown):
    signed_in.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
    try:
        signed_in.open(address(door, "/app?id_from=1001&id_to=1002&date=2024-06-01"), READY)
    finally:
        signed_in.call("Network.setExtraHTTPHeaders", headers={})
    values = signed_in.run("return [...document.querySelectorAll('.amt')].map((each) => each.value)")
    assert len(values) == 4
    copied = signed_in.run(
        """return [...document.querySelectorAll('.amt')].map((each) => {
             getSelection().selectAllChildren(each); return getSelection().toString(); })"""
    )
    assert copied == values
    row = signed_in.run("getSelection().selectAllChildren(document.querySelector('tbody tr'));"
                        "return getSelection().toString()")  # fmt: skip
    assert [cell for cell in row.split("\t") if cell.strip() in values] == [values[0], values[1]]
    separators = signed_in.run(
        "return [...document.querySelectorAll('.amt i')].map((each) => getComputedStyle(each, '::before').content)"
    )
    expected = {"de-DE": {'"."', '","'}, "en-IN": {'","'}, "en-US": {'","'}}[language]
    assert {each.partition(" / ")[0] for each in separators} == expected


@WIDTHS
@SCHEMES
@pytest.mark.parametrize(
    "path", ["/app/sign-in", "/app/sign-in?ended=true", "/app", "/app?currency=USD&balance_from=x", "/app?q=none",
             f"/app?q=RCP-2501-{LATE}", "/app/loan/77", "/app/nothing"],
)  # fmt: skip
def test_axe_finds_nothing_and_nothing_is_cut_off(signed_in, door, path, width, scheme):
    look(signed_in, width, scheme)
    signed_in.open(address(door, path), READY)
    assert violations(signed_in) == []
    assert overflow(signed_in) <= 0
    assert signed_in.complaints() == []


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(signed_in, door):
    signed_in.open(address(door, "/app?currency=USD"), READY)
    reached = []
    for _ in range(60):
        for kind in ("rawKeyDown", "keyUp"):
            signed_in.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        found = signed_in.run(
            """const each = document.activeElement, style = getComputedStyle(each);
               return [each.id || each.innerText.trim() || each.tagName, style.outlineStyle, each.tagName]"""
        )
        if found[2] == "BODY":
            break
        reached.append(found[0])
        assert found[1] != "none", found  # the focus is visible
    assert reached[:6] == ["Skip to content", "Loaner", "Find", "Book", "Sign out", "q"]
    assert {"currency", "Filter", "1001", "locale"} <= set(reached), json.dumps(reached)
