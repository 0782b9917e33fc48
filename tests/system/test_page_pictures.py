"""The pictures of the guide, taken from a running service. The variable PICTURES names the folder to write them to."""

import base64
import os
from contextlib import closing
from pathlib import Path

import pytest

from service.postgres.connect import connect
from tests.support.door import open_door
from tests.support.page_browser import DESKTOP, PHONE, look
from tests.support.page_ledger import LATE, load_page_ledger

VIEWS = {
    "sign-in": "/app/sign-in",
    "find": "/app?date=2026-11-15",
    "loan": f"/app/loan/{LATE}?date=2026-11-15",
    "book": "/app/book?date=2026-11-15",
}
PICTURES = os.environ.get("PICTURES")
HEIGHT = 900


@pytest.fixture(scope="module")
def door(browser, databases, keys_dir, tmp_path_factory):
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load_page_ledger(connection, tmp_path_factory.mktemp("ledger"))
        with open_door(chosen, keys_dir) as door:
            yield door


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", VIEWS)
def test_each_view_has_a_picture(name, scheme, door, browser, make_token, tmp_path):
    url = f"http://127.0.0.1:{door.port}"
    cookies = [] if name == "sign-in" else [{"name": "loaner", "value": make_token(), "url": f"{url}/app"}]
    browser.call("Network.clearBrowserCookies")
    browser.call("Network.setCookies", cookies=[{**each, "path": "/app"} for each in cookies])
    folder = Path(PICTURES) if PICTURES else tmp_path
    for width, suffix in ((DESKTOP, ""), *([(PHONE, "-phone")] if name == "loan" else [])):
        look(browser, width, scheme, HEIGHT)
        browser.open(
            f"{url}{VIEWS[name]}", "document.readyState === 'complete' && !document.querySelector('.chart:not(.live)')"
        )
        picture = browser.call(
            "Page.captureScreenshot", clip={"x": 0, "y": 0, "width": width, "height": HEIGHT, "scale": 1}
        )
        (folder / f"{name}-{scheme}{suffix}.png").write_bytes(base64.b64decode(picture["data"]))
        assert (folder / f"{name}-{scheme}{suffix}.png").stat().st_size > 5000
        assert browser.complaints() == []
