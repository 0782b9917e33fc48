"""A headless Chromium, driven through the DevTools protocol. It is the system's browser; nothing is downloaded."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from websocket import WebSocket, create_connection

START_S = 60
STEP_S = 30  # for what a page does in one step
# In the page, before its own scripts: what its policy forbids, and what fails in it.
_WATCH = """
window.complaints = [];
document.addEventListener("securitypolicyviolation",
  (event) => complaints.push(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
window.addEventListener("error", (event) => complaints.push(`script: ${event.message}`));
"""


class Page:
    """A page of the browser.

    Args:
        connection: The page's end of the DevTools protocol.
    """

    def __init__(self, connection: WebSocket) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a method of the protocol. Events that arrive before it are kept."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def open(self, url: str, ready: str) -> None:
        """Load a page, and wait until an expression in it is true."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && {ready}")

    def run(self, script: str) -> Any:
        """Return the value of a script that may await."""
        done = self.call(
            "Runtime.evaluate", expression=f"(async () => {{ {script} }})()", awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + STEP_S
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < deadline, (condition, self.complaints(), self.text()[-2000:])
            time.sleep(0.05)

    def type(self, selector: str, text: str) -> None:
        """Type into a field, as a person does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self) -> str:
        return self.run("return document.body.innerText")

    def complaints(self) -> list[str]:
        """Return what the page's policy has blocked, and what has failed in it."""
        logged = [each["params"]["entry"] for each in self.events if each["method"] == "Log.entryAdded"]
        thrown = [each["params"] for each in self.events if each["method"] == "Runtime.exceptionThrown"]
        return [
            *self.run("return window.complaints"),
            *(entry["text"] for entry in logged if entry["source"] in ("security", "violation", "deprecation")),
            *(json.dumps(each) for each in thrown),
        ]

    def screenshot(self, path: Path) -> None:
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def open_page(folder: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile in a folder, until the end of the block. Without Chromium, skip the test."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium on the PATH (Debian's package chromium)")
    options = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}", "--disable-gpu",
               "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage",
               "--window-size=1280,1600"]  # fmt: skip
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # which Chromium cannot set up for root
    process = subprocess.Popen([program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _read_port(folder / "DevToolsActivePort", process)
        [target] = [each for each in requests.get(f"http://127.0.0.1:{port}/json/list", timeout=STEP_S).json()
                    if each["type"] == "page"]  # fmt: skip
        with closing(
            create_connection(target["webSocketDebuggerUrl"], timeout=STEP_S, suppress_origin=True)
        ) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(STEP_S)


def _read_port(path: Path, process: subprocess.Popen) -> int:
    deadline = time.monotonic() + START_S
    while not path.exists() or "\n" not in path.read_text():
        assert process.poll() is None, "Chromium has ended"
        assert time.monotonic() < deadline, "Chromium does not start"
        time.sleep(0.05)
    return int(path.read_text().splitlines()[0])
