"""A whole service of two workers: keys rotated while callers come and go, and secrets guessed."""

import re
import shutil
import threading
import time
from contextlib import contextmanager
from statistics import median

import jwt
import pytest
import requests

from security.keys.rotation import KeyRing, State
from tests.fakes.kong.fake_kong import StandInKong, running
from tests.support.processes import free_port, reach, run, started, wait_until_up

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
    """A running service of two workers, its URL, and what it has logged."""
    port = free_port()
    with running(StandInKong()) as kong:
        variables = {**reach(served.postgres), **place, "API_GATEWAY_URL": kong.url, "PORT": str(port), "WORKERS": "2",
                     "SECRET": "s3cret-of-the-client",
                     "LISTEN_HOST": "127.0.0.1", "DRAIN_S": "0"}  # fmt: skip
        with started(**variables) as (process, told):
            url = f"http://127.0.0.1:{port}"
            wait_until_up(process, f"{url}/healthcheck", told)
            yield url, told


class Load:
    """Callers that show tokens, old and new, one after the other, on connections that come and go."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens: list[tuple[str, str]] = []  # key id, token
        self.retired: dict[str, float] = {}  # key id, and since when
        self.answers: list[tuple[float, float, str, int]] = []  # when it was asked and answered, key id, status
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
        number = 0
        while not self.stop.is_set():
            with requests.Session() as session:
                for _ in range(25):
                    number += 1
                    kid, token = self.tokens[number % len(self.tokens)]
                    asked = time.monotonic()
                    reply = session.get(
                        f"{self.url}/1/2020-01-31", headers={"Authorization": f"Bearer {token}"}, timeout=10
                    )
                    self.answers.append((asked, time.monotonic(), kid, reply.status_code))

    def about_valid_tokens(self) -> list[int]:
        """The answers to tokens whose key had not been retired yet."""
        return [status for _, answered, kid, status in self.answers if answered < self.retired.get(kid, float("inf"))]


def test_no_valid_token_is_refused_while_keys_are_rotated_and_a_retired_one_is_within_a_second(served, place, say):
    folder = place["KEYS_DIR"]
    ring = KeyRing(folder, "loaner", 3600)

    def retire(name: str, load: Load) -> float:
        """Retire a key as an administrator does. Returns when its file was gone."""
        load.retired[name] = time.monotonic()
        command = threading.Thread(target=run, args=("keys", "retire", name), kwargs=place)
        command.start()
        while ring.directory.joinpath(f"{name}.pub").exists():
            time.sleep(0.005)
        gone = time.monotonic()
        command.join()
        return gone

    with serving(served, place) as (url, told), Load(url) as load:
        begun = time.monotonic()
        first = ring.own(State.ACTIVE)[0].name
        time.sleep(2)
        run("keys", "rotate", "--wait", "2", **place)
        time.sleep(2)
        run("keys", "rotate", "--wait", "2", **place)
        time.sleep(2)
        gone = {first: retire(first, load)}
        time.sleep(2)
        active = ring.own(State.ACTIVE)[0].name  # as if it had leaked
        gone[active] = retire(active, load)
        time.sleep(max(2, LOAD_S - (time.monotonic() - begun)))
        lasted = time.monotonic() - begun
        signing = load.add()
        log = told()

    valid = load.about_valid_tokens()
    assert set(valid) == {200}
    assert len({kid for kid, _ in load.tokens}) == 4
    assert signing == ring.own(State.ACTIVE)[0].name
    for name, since in gone.items():
        later = [(asked - since, status) for asked, _, kid, status in load.answers if kid == name and asked > since]
        accepted = max((after for after, status in later if status == 200), default=0.0)
        assert accepted < 1, f"{name} was accepted {accepted:.2f} s after it was gone"
        assert sum(status == 401 for _, status in later) > 20
        say(f"a retired key was last accepted {accepted:.2f} s after its file was gone (limit 1)")
    assert log.count(f"tokens are now signed with the key {active}") == 2  # in both workers
    say(f"{len(load.answers)} requests in {lasted:.0f} s with tokens of 4 keys, {len(valid)} of them valid ones: "
        f"{len(valid) - valid.count(200)} of these refused")  # fmt: skip


def test_a_thousand_wrong_secrets_neither_succeed_nor_slow_another_clients_right_one(served, place, say):
    def add(name: str) -> str:
        return re.search(r"client_secret  (\S+)", run("client", "add", name, **place).stdout)[1]

    secrets = {name: add(name) for name in ("reports", "billing", "third", "fourth")}
    with serving(served, place) as (url, told), requests.Session() as session:

        def ask(name: str, secret: str) -> requests.Response:
            data = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            return session.post(f"{url}/token", data=data, timeout=10)

        def right() -> float:
            begun = time.perf_counter()
            assert ask("billing", secrets["billing"]).status_code == 200
            return (time.perf_counter() - begun) * 1000

        first = []
        statuses, during = [], []
        for number in range(1000):
            statuses.append(ask("reports", f"wrong-secret-{number}").status_code)
        during.append(right())  # for the first time, and from the same address
        for number in range(250):
            statuses.append(ask("reports", f"wrong-secret-{number}").status_code)
            if number % 50 == 0:
                during.append(right())
        last = ask("reports", secrets["reports"])
        for number in range(100):
            assert ask(f"nobody-{number}", "wrong-secret").status_code == 401
        for name in ("third", "fourth"):
            begun = time.perf_counter()
            assert ask(name, secrets[name]).status_code == 200
            first.append((time.perf_counter() - begun) * 1000)
        log = told()
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 5 + 60 / 10 + 2  # for as long as this takes at most
    # the right one has to wait as well, or guessing would not be slowed
    assert (last.status_code, last.json()["error"], last.headers["Cache-Control"]) == (429, "slow_down", "no-store")
    assert 1 <= int(last.headers["Retry-After"]) <= 10
    for secret in ("wrong-secret", *secrets.values(), "s3cret-of-the-client"):
        assert secret not in log
    say(f"1,250 wrong secrets in a row: {statuses.count(401)} looked at, {statuses.count(429)} refused unseen; the")
    say(f"right one of another client took {median(during):.0f} ms meanwhile, {during[0]:.0f} ms the first time,")
    say(f"and {max(first):.0f} ms of two more, for the first time after 100 made-up clients from the same address")
