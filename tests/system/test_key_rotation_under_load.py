"""A service with two workers while keys are rotated and secrets are guessed."""

import re
import shutil
import threading
import time
from contextlib import contextmanager
from random import Random
from statistics import median

import jwt
import pytest
import requests

from security.keys.rotation import KeyRing, State
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.load_clients import PAUSE_S
from tests.support.ports import free_port
from tests.support.processes import reach, run, started, wait_until_up
from tests.support.waiting import wait_until

LOAD_S = 20


@pytest.fixture
def place(tmp_path, keys_dir):
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    shutil.copy(keys_dir / "default.pub", folder)
    place = {"KEYS_DIR": str(folder), "CLIENTS_FILE": str(tmp_path / "clients.json")}
    run("keys", "generate", **place)
    return place


@contextmanager
def serving(served, place):
    """Run a service with two workers. Yield its URL and a function that reads its log."""
    port = free_port()
    with running(FakeKong()) as kong:
        variables = {**reach(served.postgres), **place, "API_GATEWAY_URL": kong.url, "PORT": str(port), "WORKERS": "2",
                     "SECRET": "s3cret-of-the-client",
                     "LISTEN_HOST": "127.0.0.1", "DRAIN_S": "0"}  # fmt: skip
        with started(**variables) as (process, read_log):
            url = f"http://127.0.0.1:{port}"
            wait_until_up(process, f"{url}/healthcheck", read_log)
            yield url, read_log


class Load:
    """Callers that present old and new tokens at random, on short connections."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens: list[tuple[str, str]] = []  # key id, token
        self.retired: dict[str, float] = {}  # key id, time of retirement
        self.answers: list[tuple[float, float, str, int]] = []  # time of request, time of reply, key id, status
        self.stop = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._fetch, self._call, self._call, self._call)]

    def __enter__(self):
        self.add()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def add(self) -> str:
        reply = requests.post(
            f"{self.url}/token", auth=("loaner-client", "s3cret-of-the-client"),
            data={"grant_type": "client_credentials"}, timeout=10,
        )  # fmt: skip
        token = reply.json()["access_token"]
        kid = jwt.get_unverified_header(token)["kid"]
        self.tokens.append((kid, token))
        return kid

    def _fetch(self) -> None:
        while not self.stop.wait(0.2):
            self.add()

    def _call(self) -> None:
        chosen = Random(0)
        while not self.stop.is_set():
            with requests.Session() as session:
                for _ in range(25):
                    kid, token = chosen.choice(self.tokens)  # in turn, the growing list could leave out some for long
                    asked = time.monotonic()
                    reply = session.get(
                        f"{self.url}/1/2020-01-31", headers={"Authorization": f"Bearer {token}"}, timeout=10
                    )
                    self.answers.append((asked, time.monotonic(), kid, reply.status_code))
                    time.sleep(PAUSE_S)

    def statuses_of_valid_tokens(self) -> list[int]:
        """Return the statuses for tokens whose key was not yet retired."""
        return [status for _, answered, kid, status in self.answers if answered < self.retired.get(kid, float("inf"))]

    def since(self, name: str, begun: float) -> list[tuple[float, int]]:
        """Return how much later than a time each token of a key was presented, and the status."""
        return [(asked - begun, status) for asked, _, kid, status in self.answers if kid == name and asked > begun]


def test_rotation_rejects_no_valid_token_and_retired_keys_within_a_second(served, place, report_measurement):
    folder = place["KEYS_DIR"]
    ring = KeyRing(folder, "loaner", 3600)

    def retire(name: str, load: Load) -> float:
        """Retire a key by its command. Return the time when its file was gone."""
        load.retired[name] = time.monotonic()
        command = threading.Thread(target=run, args=("keys", "retire", name), kwargs=place)
        command.start()
        while ring.directory.joinpath(f"{name}.pub").exists():
            time.sleep(0.005)
        gone = time.monotonic()
        command.join()
        return gone

    with serving(served, place) as (url, read_log), Load(url) as load:
        begun = time.monotonic()
        first = ring.own(State.ACTIVE)[0].name
        time.sleep(2)
        run("keys", "rotate", "--wait", "2", **place)
        time.sleep(2)
        run("keys", "rotate", "--wait", "2", **place)
        time.sleep(2)
        gone = {first: retire(first, load)}
        time.sleep(2)
        active = ring.own(State.ACTIVE)[0].name  # as after a leak
        gone[active] = retire(active, load)
        time.sleep(max(2, LOAD_S - (time.monotonic() - begun)))
        for name, since in gone.items():
            wait_until(lambda: len(load.since(name, since)) > 40, read_log=read_log)  # noqa: B023
        duration_s = time.monotonic() - begun
        signing = load.add()
        log = read_log()

    valid = load.statuses_of_valid_tokens()
    assert set(valid) == {200}
    assert len({kid for kid, _ in load.tokens}) == 4
    assert signing == ring.own(State.ACTIVE)[0].name
    for name, since in gone.items():
        later = load.since(name, since)
        accepted = max((after for after, status in later if status == 200), default=0.0)
        assert accepted < 1, f"{name} was accepted {accepted:.2f} s after it was gone"
        assert sum(status == 401 for _, status in later) > 20
        report_measurement(f"a retired key was last accepted {accepted:.2f} s after its file was gone (limit 1)")
    assert log.count(f"tokens are now signed with the key {active}") == 2  # in both workers
    report_measurement(
        f"{len(load.answers)} requests in {duration_s:.0f} s with tokens of 4 keys: {len(valid)} with valid tokens, "
        f"{len(valid) - valid.count(200)} of these rejected"
    )


def test_a_thousand_wrong_secrets_neither_succeed_nor_delay_another_client(served, place, report_measurement):
    def add(name: str) -> str:
        return re.search(r"client_secret  (\S+)", run("client", "add", name, **place).stdout)[1]

    secrets = {name: add(name) for name in ("reports", "billing", "third", "fourth")}
    with serving(served, place) as (url, read_log), requests.Session() as session:

        def request_token(name: str, secret: str) -> requests.Response:
            data = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            return session.post(f"{url}/token", data=data, timeout=10)

        def valid_request_ms() -> float:
            begun = time.perf_counter()
            assert request_token("billing", secrets["billing"]).status_code == 200
            return (time.perf_counter() - begun) * 1000

        first = []
        statuses, during = [], []
        for number in range(1000):
            statuses.append(request_token("reports", f"wrong-secret-{number}").status_code)
        during.append(valid_request_ms())  # the first request of this client, from the same address
        for number in range(250):
            statuses.append(request_token("reports", f"wrong-secret-{number}").status_code)
            if number % 50 == 0:
                during.append(valid_request_ms())
        last = request_token("reports", secrets["reports"])
        for number in range(100):
            assert request_token(f"unknown-{number}", "wrong-secret").status_code == 401
        for name in ("third", "fourth"):
            begun = time.perf_counter()
            assert request_token(name, secrets[name]).status_code == 200
            first.append((time.perf_counter() - begun) * 1000)
        log = read_log()
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 5 + 60 / 10 + 2  # upper bound for the duration of the test
    # the right secret is throttled as well, otherwise guessing would not be
    assert (last.status_code, last.json()["error"], last.headers["Cache-Control"]) == (429, "slow_down", "no-store")
    assert 1 <= int(last.headers["Retry-After"]) <= 10
    for secret in ("wrong-secret", *secrets.values(), "s3cret-of-the-client"):
        assert secret not in log
    report_measurement(
        f"1,250 wrong secrets: {statuses.count(401)} checked, {statuses.count(429)} throttled; another client's right "
        f"secret took {median(during):.0f} ms (median), {during[0]:.0f} ms the first time,"
    )
    report_measurement(
        f"    and {max(first):.0f} ms for clients first seen after 100 unknown ones from the same address"
    )
