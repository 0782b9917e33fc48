"""The gateway commands and settings, run as processes."""

import json
import signal

import pytest
import yaml

from tests.fakes.kong.declarative import load
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.ports import free_port
from tests.support.processes import ask, reach, run, started, wait_until_up
from tests.support.waiting import wait_until

PLUGINS = """
plugins:
  - name: rate-limiting
    config: {minute: 600, policy: local}
"""


@pytest.fixture
def kong():
    with running(FakeKong()) as gateway:
        yield gateway


def test_a_registration_can_be_previewed_applied_and_removed(kong, tmp_path):
    (tmp_path / "plugins.yaml").write_text(PLUGINS)
    place = {"API_GATEWAY_URL": kong.url, "GATEWAY_PLUGINS": str(tmp_path / "plugins.yaml")}
    preview = run("register", "--dry-run", **place)
    assert preview.stdout.startswith("+ service loaner\n    protocol: http\n    host: loaner.service.consul\n")
    assert "+ plugin rate-limiting" in preview.stdout
    assert kong.writes == []
    status = run("gateway", "status", **place)
    assert (status.returncode, "declared  differs:" in status.stdout) == (1, True)
    assert run("register", **place).stdout == preview.stdout
    assert run("register", **place).stdout == "no changes\n"
    status = run("gateway", "status", **place)
    assert (status.returncode, status.stdout.splitlines()[0]) == (0, f"gateway   {kong.url}, Kong 3.9.3")
    assert "declared  up to date" in status.stdout
    changed = run("register", "--dry-run", **place, SERVICE_PATH="/loans").stdout
    assert "~ route loaner\n    paths: ['/loaner'] -> ['/loans']\n" in changed
    assert run("unregister", "--dry-run", **place).stdout == "- route loaner\n- service loaner\n"
    assert "loaner" in kong.services
    run("unregister", **place)
    assert not kong.services


def test_a_service_of_another_owner_is_adopted_only_with_the_option(kong):
    kong.answer("PUT", "/services/loaner", {"host": "theirs"})
    done = run("register", API_GATEWAY_URL=kong.url)
    assert done.returncode == 1
    assert "belongs to another owner (tags: none, host: theirs)" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert run("register", "--adopt", API_GATEWAY_URL=kong.url).returncode == 0
    assert kong.services["loaner"]["host"] == "loaner.service.consul"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("plugins: [", "neither YAML nor JSON"),
        ("x: 1", "plugins: Field required"),
        ("plugins: [{name: rate-limiting, conf: {}}]", "plugins.0.conf: "),
        ("plugins: [{name: a}, {name: a}]", "a is declared twice"),
        ("[]", "file: "),
        ("plugins: [{name: 'A b'}]", "plugins.0.name: "),
        ("plugins: [{name: a, config: {since: 2026-01-01}}]", "plugins.0.config.since"),
    ],
)
def test_errors_in_the_plugins_file_are_named(kong, tmp_path, content, message):
    path = tmp_path / "plugins.yaml"
    if content is not None:
        path.write_text(content)
    done = run("register", API_GATEWAY_URL=kong.url, GATEWAY_PLUGINS=str(path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: GATEWAY_PLUGINS: {path}")
    assert message in done.stderr
    assert kong.requests == []


def test_the_plugins_file_may_be_json_and_jwt_gets_the_public_keys(kong, tmp_path, keys_dir):
    (tmp_path / "plugins.json").write_text(
        json.dumps({"plugins": [{"name": "jwt", "config": {"key_claim_name": "kid"}}]})
    )
    place = {"API_GATEWAY_URL": kong.url, "GATEWAY_PLUGINS": str(tmp_path / "plugins.json"), "KEYS_DIR": str(keys_dir)}
    assert "+ jwt key loaner" in run("register", **place).stdout
    assert kong.jwt_keys["loaner"]["rsa_public_key"] == (keys_dir / "loaner.pub").read_text()


def test_the_example_plugins_file_is_accepted(kong):
    assert run("register", API_GATEWAY_URL=kong.url, GATEWAY_PLUGINS="deploy/kong/plugins.yaml").returncode == 0
    assert {plugin["name"] for plugin in kong.entities["plugins"].values()} >= {"rate-limiting", "correlation-id"}


def test_credentials_for_the_admin_api_are_sent_and_never_shown(kong):
    kong.fail = [(401, b'{"message":"No API key found in request"}', "application/json")]
    secrets = {"API_GATEWAY_TOKEN": "t0ken-secret", "API_GATEWAY_KEY": "k3y-secret", "API_GATEWAY_KEY_HEADER": "X-Key"}
    done = run("gateway", "status", API_GATEWAY_URL=kong.url, **secrets)
    assert "answered 401: No API key found" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert (kong.headers[0]["Kong-Admin-Token"], kong.headers[0]["X-Key"]) == ("t0ken-secret", "k3y-secret")


def test_a_gateway_without_a_database_gets_the_declaration_as_a_file(kong, tmp_path):
    (tmp_path / "plugins.yaml").write_text(PLUGINS)
    place = {"API_GATEWAY_URL": kong.url, "GATEWAY_PLUGINS": str(tmp_path / "plugins.yaml")}
    kong.database = "off"
    start = run(**place)
    assert start.returncode == 1
    assert "load the output of `python service.py gateway export` into it" in start.stderr
    assert "set SERVICE_DISCOVERY=none" in start.stderr
    exported = run("gateway", "export", **{**place, "API_GATEWAY_URL": "http://127.0.0.1:9"})
    kong.database = "postgres"
    load(kong, yaml.safe_load(exported.stdout))
    status = run("gateway", "status", **place, SERVICE_DISCOVERY="none")
    assert status.returncode == 0, status.stdout + status.stderr
    assert status.stdout.startswith(f"gateway   {kong.url}, Kong 3.9.3 without a database\ndeclared  up to date\n")
    kong.routes["loaner"]["paths"] = ["/elsewhere"]
    status = run("gateway", "status", **place, SERVICE_DISCOVERY="none")
    assert (status.returncode, "~ route loaner\n" in status.stdout) == (1, True)
    assert kong.writes == []


def test_the_file_for_deck_needs_targets_for_an_upstream():
    done = run("gateway", "export", "--for", "deck", SERVICE_DISCOVERY="upstream")
    assert (done.returncode, "--target HOST:PORT" in done.stderr) == (1, True)
    done = run("gateway", "export", "--for", "deck", "--target", "10.0.0.1:5555", SERVICE_DISCOVERY="upstream")
    document = yaml.safe_load(done.stdout)
    assert document["_info"] == {"select_tags": ["managed-by:loaner"]}
    assert [target["target"] for target in document["upstreams"][0]["targets"]] == ["10.0.0.1:5555"]


def test_secrets_of_plugins_are_not_shown(kong, tmp_path):
    def plugins(secret: str) -> str:
        add = {"headers": [f"authorization: Bearer {secret}"]}
        log = {"http_endpoint": f"https://user:{secret}@logs.example.com", "headers": {"X-Token": secret}}
        configs = {"request-transformer": {"add": add}, "http-log": log}
        return json.dumps({"plugins": [{"name": name, "config": config} for name, config in configs.items()]})

    path = tmp_path / "plugins.json"
    place = {"API_GATEWAY_URL": kong.url, "GATEWAY_PLUGINS": str(path)}
    shown = []
    for secret in ("s3cret-1", "s3cret-2"):
        path.write_text(plugins(secret))
        for command in (("register", "--dry-run"), ("gateway", "status"), ("register",)):
            done = run(*command, **place)
            shown.append(done.stdout + done.stderr)
    assert "~ plugin http-log" in shown[3]
    assert "s3cret" not in "".join(shown)
    assert "s3cret-2" in json.dumps(list(kong.entities["plugins"].values()))


def stranger(kong: FakeKong, **route) -> None:
    kong.answer("PUT", "/services/stranger", {"host": "theirs"})
    kong.answer("PUT", "/services/stranger/routes/stranger", {"paths": ["/loaner"], **route})


def limit(kong: FakeKong) -> dict:
    return next(plugin for plugin in kong.entities["plugins"].values() if plugin["name"] == "rate-limiting")


@pytest.mark.parametrize(
    ("change", "code", "line"),
    [
        (lambda kong: kong.routes.clear(), 1, "+ route loaner\n"),
        (lambda kong: kong.services["loaner"].update(enabled=False), 1, "    enabled: False -> True\n"),
        (lambda kong: kong.services["loaner"].update(path="/x"), 1, "    path: /x -> None\n"),
        (lambda kong: kong.routes["loaner"].update(methods=["POST"]), 1, "    methods: ['POST'] -> None\n"),
        (lambda kong: kong.routes["loaner"].update(hosts=["api.example"]), 1, "    hosts: ['api.example'] -> None\n"),
        (lambda kong: limit(kong)["config"].update(hour=200), 1, "'hour': 200"),
        (lambda kong: limit(kong).update(enabled=False), 1, "    enabled: False -> True\n"),
        (lambda kong: kong.services["loaner"]["tags"].append("declared:other"), 1, "~ declaration of service loaner\n"),
        (stranger, 0, "route     the route stranger of the service stranger with the path /loaner is newer"),
        (lambda kong: stranger(kong, paths=["/loaner/token"]), 1, "/loaner/token takes calls for this service\n"),
        (lambda kong: stranger(kong, hosts=["a.b"]), 0, "takes calls for this service with hosts ['a.b']\n"),
        (lambda kong: kong.services["loaner"].update(retries=0), 0, "kept      service loaner: retries 0\n"),
        (
            lambda kong: kong.targets["loaner.upstream"]["127.0.0.1:1"].update(weight=0),
            0,
            "target    127.0.0.1:1 UNHEALTHY, added by hand, weight 0, kept: it gets no calls\n",
        ),
        (lambda kong: kong.entities["upstreams"]["loaner.upstream"]["healthchecks"]["active"]["healthy"].update(
            http_statuses=[200, 302]), 1, "'http_statuses': [200, 302]"),
    ],
)  # fmt: skip
def test_the_status_shows_what_keeps_calls_away(kong, tmp_path, change, code, line):
    (tmp_path / "plugins.yaml").write_text(PLUGINS)
    place = {"API_GATEWAY_URL": kong.url, "GATEWAY_PLUGINS": str(tmp_path / "plugins.yaml"),
             "SERVICE_DISCOVERY": "upstream"}  # fmt: skip
    run("register", **place)
    kong.answer("POST", "/upstreams/loaner.upstream/targets", {"target": "127.0.0.1:1"})
    kong.health["127.0.0.1:1"] = "UNHEALTHY"
    change(kong)
    status = run("gateway", "status", **place)
    assert (status.returncode, line in status.stdout) == (code, True), status.stdout + status.stderr
    assert status.stderr == ""


def test_a_missing_ca_file_is_named(kong):
    done = run("register", API_GATEWAY_URL=kong.url, API_GATEWAY_CA="/nowhere.pem")
    assert done.stderr == "Error: API_GATEWAY_CA: /nowhere.pem is not a file\n"


def test_the_service_runs_without_a_gateway_if_discovery_is_none(settings, keys_dir):
    port = str(free_port())
    chosen = {"KEYS_DIR": str(keys_dir), "LISTEN_HOST": "127.0.0.1", "PORT": port, "WORKERS": "1", "DRAIN_S": "4"}
    nowhere = {"API_GATEWAY_URL": "http://127.0.0.1:9", "SERVICE_DISCOVERY": "none"}
    with started(**reach(settings), **chosen, **nowhere) as (process, read_log):
        wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 200
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(f"http://127.0.0.1:{port}/ready")[0] == 503)
        assert ask(f"http://127.0.0.1:{port}/healthcheck")[0] == 200  # it still serves
        assert process.wait(30) == 0, read_log()
        assert "127.0.0.1:9" not in read_log()
