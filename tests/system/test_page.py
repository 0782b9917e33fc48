"""The page in a real browser: each journey of a person, at a desk and on a phone, in light and dark."""

import json
import re
from contextlib import closing
from datetime import date

import pytest

from service.postgres.connect import connect
from tests.support.door import CLIENT, CLIENT_SECRET, open_door
from tests.support.page_browser import DESKTOP, PHONE, look, overflow, use_scripts, violations
from tests.support.page_ledger import LATE, MORTGAGE, OVERPAID, load_page_ledger

pytestmark = pytest.mark.timeout(300)  # a browser is slow on a busy machine
LOADED = "document.readyState === 'complete'"


@pytest.fixture(scope="module")
def origin(browser, databases, keys_dir, tmp_path_factory):  # without a browser, no service is started
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load_page_ledger(connection, tmp_path_factory.mktemp("ledger"))
        with open_door(chosen, keys_dir) as door:
            yield f"http://127.0.0.1:{door.port}"


@pytest.fixture
def page(browser, origin):
    """The browser without cookies, and with everything switched back."""
    browser.call("Network.clearBrowserCookies")
    use_scripts(browser, True)
    look(browser)
    return browser


@pytest.fixture
def signed_in(page, origin, make_token):
    cookie = {"name": "loaner", "value": make_token(), "url": f"{origin}/app", "path": "/app"}
    page.call("Network.setCookies", cookies=[cookie])
    return page


def follow(page, action: str) -> None:
    """Do what leads to another view, and wait for it. A mark on the window distinguishes the views."""
    page.run("window.left = true")
    page.run(action)
    arrive(page)


def arrive(page) -> None:
    """Wait for another view than the marked one. While the browser changes over, a question may stay unanswered."""
    for _ in range(3):
        try:
            return page.wait(f"!window.left && {LOADED}")
        except AssertionError as err:
            if "navigated or closed" not in str(err):
                raise
    raise AssertionError("no view has been loaded")


def submit(page, values: dict[str, str], button: str = "") -> None:
    """Fill the fields of a form by their names, and submit the form."""
    fields = json.dumps(values)
    follow(page, f"""
        const values = {fields};
        const form = document.querySelector(`form [name="${{Object.keys(values)[0]}}"]`).form;
        for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
        setTimeout(() => form.requestSubmit());
    """)  # fmt: skip


def follow_link(page, text: str) -> None:
    follow(page, f"""
        const links = [...document.querySelectorAll("main a, nav a")];
        const link = links.find((each) => each.textContent.trim() === {json.dumps(text)});
        setTimeout(() => link.click());
    """)  # fmt: skip


def balance(page) -> str:
    return page.run("return document.querySelector('.total data').value")


def assert_sound(page) -> None:
    assert violations(page) == []
    assert overflow(page) <= 0
    assert page.complaints() == []


@pytest.mark.parametrize(
    ("width", "scheme", "scripts"),
    [
        (DESKTOP, "light", True), (DESKTOP, "dark", True), (PHONE, "light", True), (PHONE, "dark", True),
        (DESKTOP, "light", False), (PHONE, "dark", False),
    ],
)  # fmt: skip
def test_a_person_signs_in_finds_a_loan_and_sees_its_past_and_the_book(page, origin, width, scheme, scripts):
    look(page, width, scheme)
    use_scripts(page, scripts)
    page.call("Page.navigate", url=f"{origin}/app")
    page.wait(f"location.pathname === '/app/sign-in' && {LOADED}")
    assert_sound(page)
    submit(page, {"client_id": CLIENT, "client_secret": CLIENT_SECRET})
    assert page.run("return location.pathname") == "/app"
    assert_sound(page)
    submit(page, {"q": str(LATE)})
    assert page.run("return location.pathname") == f"/app/loan/{LATE}"
    assert_sound(page)
    submit(page, {"date": "2025-11-01"})
    assert page.run("return location.search") == "?date=2025-11-01"
    then = balance(page)
    assert page.run("return document.querySelectorAll('.statement tbody tr').length") > 30
    submit(page, {"as_of_version": "3"})
    assert "You are looking at the past." in page.text()
    assert balance(page) != then
    assert_sound(page)
    follow_link(page, "Back to the present")
    assert balance(page) == then
    follow_link(page, "All events behind it, with a digest")
    assert balance(page) == then
    assert_sound(page)
    follow_link(page, "Book")
    assert page.run("return location.pathname") == "/app/book"
    assert_sound(page)
    follow(page, "setTimeout(() => document.querySelector('.account button').click())")
    page.call("Page.navigate", url=f"{origin}/app/loan/{LATE}")
    page.wait(f"location.pathname === '/app/sign-in' && {LOADED}")


@pytest.mark.parametrize(
    ("width", "scheme", "scripts"), [(DESKTOP, "light", True), (PHONE, "light", False), (DESKTOP, "dark", False),
                                     (PHONE, "dark", True)],
)  # fmt: skip
def test_a_person_reads_the_payoff_the_arrears_and_the_buckets(signed_in, origin, width, scheme, scripts):
    page = signed_in
    look(page, width, scheme)
    use_scripts(page, scripts)
    page.open(f"{origin}/app/loan/{LATE}?date=2026-11-15", LOADED)
    assert "Over 120 days past due" in page.text()
    assert page.run("return document.querySelector('#payoff ~ .total data').value") == "4232.25"
    submit(page, {"good_through": "2026-11-30"})
    assert page.run("return location.hash") == "#payoff"
    assert page.run("return document.querySelectorAll('.short tbody tr').length") == 15
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.run("return [...document.querySelectorAll('.installments')].flatMap((t) => [...t.rows]).length") == 38
    assert_sound(page)
    page.open(f"{origin}/app/book?date=2026-11-15", LOADED)
    buckets = page.run("return [...document.querySelectorAll('#buckets ~ .scroll .badge')].map((b) => b.textContent)")
    assert buckets == ["Current", "Over 120 days", "Current", "Current", "1 to 30 days"]
    assert_sound(page)


def test_on_paper_the_schedule_is_whole(signed_in, origin):
    page = signed_in
    page.open(f"{origin}/app/loan/{MORTGAGE}?date=2026-11-15", LOADED)
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        cut = "const table = document.querySelector('.installments').parentElement;"
        assert page.run(f"{cut} return table.scrollHeight - table.clientHeight") == 0
        assert page.run(f"{cut} return table.clientHeight") > 2000
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_the_chart_follows_the_pointer_and_a_click_shows_the_day(signed_in, origin):
    page = signed_in
    page.open(f"{origin}/app/loan/{LATE}", "document.querySelector('.u-over')")
    page.run("document.querySelector('.chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y, width, height = page.run(
        "const box = document.querySelector('.u-over').getBoundingClientRect();"
        "return [box.x, box.y, box.width, box.height]"
    )
    spot = {"x": x + width * 0.6, "y": y + height / 2}
    page.call("Input.dispatchMouseEvent", type="mouseMoved", **spot)
    page.wait("document.querySelector('[data-shown-date]').textContent")
    shown = page.run("return document.querySelector('[data-shown-date]').textContent")
    pointed_at = {
        key: page.run(f"return document.querySelector('[data-value-of={key}]').textContent")
        for key in ("balance", "principal", "interest", "fees")
    }
    page.run("window.left = true")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **spot)
    arrive(page)
    assert page.run("return location.search") == f"?date={shown}"
    assert date(2025, 1, 1) < date.fromisoformat(shown) < date(2026, 12, 31)
    assert balance(page) == pointed_at["balance"]
    parts = page.run("return [...document.querySelectorAll('.parts data')].map((each) => each.value)")
    assert parts == [pointed_at[name] for name in ("principal", "interest", "fees")]
    assert page.complaints() == []


@pytest.mark.parametrize("scripts", [True, False])
def test_the_chart_is_drawn_with_and_without_scripts(signed_in, origin, scripts):
    page = signed_in
    use_scripts(page, scripts)
    page.open(f"{origin}/app/loan/{OVERPAID}", LOADED)
    shown = page.run(
        "return [...document.querySelectorAll('.drawing, .chart-live')].filter((each) => each.offsetHeight)"
        ".map((each) => each.className)"
    )
    assert shown == (["chart-live"] if scripts else ["drawing"])


def test_on_paper_the_drawing_and_no_control_is_shown(signed_in, origin):
    page = signed_in
    page.open(f"{origin}/app/loan/{LATE}", "document.querySelector('.u-over')")
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "return [...document.querySelectorAll(%s)].filter((each) => each.offsetHeight).length"
        assert page.run(visible % "'.drawing'") == 1
        assert page.run(visible % "'.chart-live, form, button, nav, .data'") == 0
    finally:
        page.call("Emulation.setEmulatedMedia", media="")


def test_a_date_is_chosen_with_the_keyboard_alone(signed_in, origin):
    page = signed_in
    page.open(f"{origin}/app/loan/{LATE}", LOADED)
    seen = []
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(page.run("const a = document.activeElement; return a.id || a.textContent.trim() || a.tagName"))
        if seen[-1] == "date":
            break
    assert seen[-1] == "date", seen
    assert seen[0] == "Skip to content"
    page.run("document.activeElement.select()")
    for character in "2025-03-15":
        page.call("Input.dispatchKeyEvent", type="char", text=character)
    page.run("window.left = true")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    arrive(page)
    assert page.run("return location.search") == "?date=2025-03-15"
    assert page.run("return document.querySelector('.when time').dateTime") == "2025-03-15"


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_date_is_iso_in_its_field_and_can_be_picked(signed_in, origin, width):
    page = signed_in
    look(page, width)
    page.open(f"{origin}/app/loan/{LATE}?date=2025-03-15", LOADED)
    assert page.run("return document.querySelector('#date').value") == "2025-03-15"
    for field, value, shown in (
        ("date", "2024-12-31", "2024-12-31"),
        ("known_at", "2026-01-02T03:04", "2026-01-02 03:04"),
    ):
        page.run(f"window.holder = document.querySelector('#{field}').parentElement;"
                 "window.opened = 0; holder.querySelector('.calendar').showPicker = () => { opened += 1; };"
                 "holder.querySelector('button').click()")  # fmt: skip
        assert page.run("return opened") == 1
        page.run(f"const picker = holder.querySelector('.calendar'); picker.value = {json.dumps(value)};"
                 "picker.dispatchEvent(new Event('input'))")  # fmt: skip
        assert page.run(f"return document.querySelector('#{field}').value") == shown
    assert page.run("return [...document.querySelector('#date').form.elements].filter((e) => e.name).length") == 1
    assert_sound(page)


def test_the_browsers_own_picker_opens_beside_the_field(signed_in, origin):
    """A picker that is not rendered, or not by a person's action, is an error."""
    page = signed_in
    page.open(f"{origin}/app/loan/{LATE}", LOADED)
    page.run("document.addEventListener('click', () => { window.clicked = true; });"
             "document.querySelector('#date').focus()")  # fmt: skip
    for key, code in (("Tab", 9), ("Enter", 13)):
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code,
                  **({"text": "\r"} if key == "Enter" else {}))  # fmt: skip
        page.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)
    assert page.run("return document.activeElement.getAttribute('aria-label')") == "Pick: Date"
    assert page.run("return window.clicked")
    assert page.complaints() == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("2025-02-30", "This date does not exist."), ("15.3.2025", "pattern"), ("2025-03-15", ""), (" 2025-03-15 ", "")],
)
def test_a_date_that_is_none_is_not_sent(signed_in, origin, text, complaint):
    page = signed_in
    page.open(f"{origin}/app/loan/{LATE}", LOADED)
    page.run("document.querySelector('#date').value = ''")
    page.type("#date", text)
    found = page.run("const date = document.querySelector('#date'), own = date.validity.customError;"
                     "return date.validity.valid ? '' : own ? date.validationMessage : 'pattern'")  # fmt: skip
    assert found == complaint
    page.type("#good_through", "2001-01-01")
    assert "Expected a date from 20" in page.run("return document.querySelector('#good_through').validationMessage")


WRITTEN = """window.written = []; const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
  written.push(text); return write.call(this, text, ...rest); };"""


def test_the_chart_writes_amounts_and_dates_as_the_rest_of_the_page(signed_in, origin):
    """Also in a browser with another language."""
    page = signed_in
    page.call("Network.setCookies", cookies=[
        {"name": "loaner-numbers", "value": "de-CH", "url": f"{origin}/app", "path": "/app"}
    ])  # fmt: skip
    watch = page.call("Page.addScriptToEvaluateOnNewDocument", source=WRITTEN)
    page.call("Emulation.setLocaleOverride", locale="en-IN")
    try:
        page.open(f"{origin}/app/loan/{MORTGAGE}", "document.querySelector('.u-over') && window.written.length")
        drawn = page.run("return [...document.querySelectorAll('.amounts text')].map((each) => each.textContent)")
        written = page.run("return written")
    finally:
        page.call("Emulation.setLocaleOverride")
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=watch["identifier"])
    assert drawn[1] == "50'000"
    assert set(drawn) <= set(written)
    assert all(re.fullmatch(r"\d{4}(-\d\d){0,2}", each) for each in set(written) - set(drawn)), written
    page.run("document.querySelector('.chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    x, y = page.run("const box = document.querySelector('.u-over').getBoundingClientRect();"
                    "return [box.x + box.width / 2, box.y + 20]")  # fmt: skip
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait("document.querySelector('[data-shown-date]').textContent")
    legend = page.run("return document.querySelector('[data-value-of=balance]').innerHTML")
    assert '<i data-as="\'"></i>' in legend.replace("&#39;", "'")
    assert re.fullmatch(r"\d+\.\d\d", page.run("return document.querySelector('[data-value-of=balance]').textContent"))
