"""The documentation page in a real browser: what it prefills can be executed, and its policy forbids nothing of it."""

import json
from contextlib import closing, contextmanager

import pytest
import requests

from service.postgres.connect import connect
from tests.conftest import load_ledger
from tests.fakes.http_server import serving
from tests.generated.generated_requests import DOCUMENT, list_operations
from tests.support.door import CLIENT, CLIENT_SECRET, open_door

PASSED_ON = ("Content-Type", "Content-Security-Policy", "X-Content-Type-Options", "WWW-Authenticate")
READY = "document.querySelector('.opblock')"
# Opens the operation, presses Execute, and returns what the page shows: the status and the URL of the request.
EXECUTE = """
const block = document.getElementById(%s);
const until = async (find) => {
  for (let tries = 0; tries < 400; tries++) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("waited in vain: " + find + block.innerText);
};
if (!block.querySelector(".execute")) block.querySelector(".opblock-summary-control").click();
const execute = await until(() => block.querySelector(".execute"));
if (block.querySelector(".btn-clear")) block.querySelector(".btn-clear").click();  // what an earlier request got
await until(() => !block.querySelector(".live-responses-table"));
execute.click();
const shown = await until(() => block.querySelector(".live-responses-table .response .response-col_status"));
const result = [parseInt(shown.innerText), block.querySelector(".request-url pre").innerText];
block.querySelector(".opblock-summary-control").click();  // closed again, so that the page stays quick
return result;
"""


@pytest.fixture(scope="module")
def door(browser, databases, keys_dir, tmp_path_factory):  # without a browser, no service is started
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        with open_door(chosen, keys_dir) as door:
            yield door


@pytest.fixture
def page(browser, door):
    browser.open(url_of(door), READY)
    return browser


def url_of(door) -> str:
    return f"http://127.0.0.1:{door.port}/api/v1"


@contextmanager
def gateway(door):
    """Forward requests below /loaner to the service, and yield the URL of the page there."""

    def forward(method, path, headers, body):
        if not path.startswith("/loaner/"):
            return 404, b"not a path of this service"
        reply = requests.request(
            method, f"http://127.0.0.1:{door.port}{path.removeprefix('/loaner')}", data=body, timeout=20,
            headers={**headers, "X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "127.0.0.1"},
        )  # fmt: skip
        kept = {name: reply.headers[name] for name in PASSED_ON if name in reply.headers}
        return reply.status_code, reply.content, kept

    with serving(forward) as url:
        yield f"{url}/loaner/api/v1"


def operations_of(door) -> dict[str, dict]:
    document = requests.get(f"http://127.0.0.1:{door.port}{DOCUMENT}", timeout=20).json()
    return {
        f"operations-{operation['tags'][0]}-{operation['operationId']}": {**operation, "name": f"{method} {path}"}
        for method, path, operation in list_operations(document)
    }


def authorize_with_token(page, token: str) -> None:
    page.click("button.authorize")
    page.wait("document.querySelector('.auth-container input[type=text]')")
    page.type(".auth-container input[type=text]", token)
    page.click(".auth-container button.authorize")
    page.wait("document.querySelector('.auth-container button:not(.btn-done)').innerText == 'Logout'")
    page.click(".auth-container .btn-done")


@pytest.mark.timeout(300)  # a page of this size is slow on a busy machine
def test_every_operation_can_be_executed_with_what_is_prefilled(door, page, make_token, report_measurement):
    authorize_with_token(page, make_token(scopes="api:read api:write"))
    operations = operations_of(door)
    assert len(operations) > 15
    failed = {}
    for place, operation in operations.items():
        status, url = page.run(EXECUTE % json.dumps(place))
        report_measurement(f"executed as prefilled: {operation['name']}: {status} ({url})")
        if not (str(status) in operation["responses"] and (status < 300 or operation["name"] == "POST /token")):
            failed[operation["name"]] = status, url
    assert failed == {}
    assert page.complaints() == []


def test_what_the_policy_forbids_is_noticed(page):
    page.run("""const script = document.createElement("script");
                script.textContent = "document.title = 'forbidden'"; document.body.append(script)""")
    page.wait("complaints.length")
    assert "script-src" in page.complaints()[0]
    assert page.run("return document.title") == "Loaner"


def authorize_with_secret(page, secret: str) -> None:
    page.click("button.authorize")
    page.wait("document.querySelector('#client_id_clientCredentials')")
    page.type("#client_id_clientCredentials", CLIENT)
    page.type("#client_secret_clientCredentials", secret)
    page.run(
        "document.querySelector('#client_id_clientCredentials').closest('.auth-container')"
        ".querySelector('button.authorize').click()"
    )


def execute_find_loans(door, page) -> int:
    [place] = [place for place, each in operations_of(door).items() if each["name"] == "GET /api/v1/loans"]
    return page.run(EXECUTE % json.dumps(place))[0]


def test_a_client_authorizes_with_its_id_and_secret(door, page):
    assert execute_find_loans(door, page) == 401
    authorize_with_secret(page, CLIENT_SECRET)
    page.wait("document.body.innerText.includes('Logout')")
    page.click(".auth-container .btn-done")
    assert execute_find_loans(door, page) == 200
    assert page.complaints() == []
    kept = page.run("return JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert kept == '[{},{},""]'  # on a shared computer, nobody finds a secret or a token


def test_a_client_authorizes_behind_a_gateway(door, browser):
    with gateway(door) as url:
        browser.open(url, READY)
        authorize_with_secret(browser, CLIENT_SECRET)
        browser.wait("document.body.innerText.includes('Logout')")
        browser.click(".auth-container .btn-done")
        assert execute_find_loans(door, browser) == 200
        assert browser.complaints() == []


def test_a_wrong_secret_is_reported_without_a_prompt_of_the_browser(page):
    page.call("Fetch.enable", handleAuthRequests=True, patterns=[{"urlPattern": "*/nothing"}])
    authorize_with_secret(page, "wrong")
    page.wait("document.querySelector('.auth-container .errors')")
    assert "client_id or client_secret is missing or wrong" in page.text()
    assert [each for each in page.events if each["method"] == "Fetch.authRequired"] == []
