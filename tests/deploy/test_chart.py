"""The Helm chart: what it makes of its values, and that this works."""

import functools
import json
import math
import re

import kubernetes_validate
import pytest
import yaml
from pydantic import SecretStr

from service import __version__
from service.gateway.plugins_file import read_plugins
from service.runtime.server import LEAVE_S, STOP_TIMEOUT_S
from service.settings import MEMCACHED_PORT, Settings, load_settings
from service.vault.lease import STOP_S
from tests.deploy.chart import (
    CASES,
    CHART,
    FULL,
    MINIMAL,
    TLS,
    helm,
    one,
    pods,
    rendered,
    template_of,
)
from tests.deploy.settings_schema import READ_BY_CHART, SCHEMA, settings_schema

SETTINGS = {name.upper(): field for name, field in Settings.model_fields.items()}
SECRET = {name for name, field in Settings.model_json_schema()["properties"].items() if "writeOnly" in str(field)}
OLDEST = "1.33"
VERSIONS = sorted({".".join(it.split(".")[:2]) for it in kubernetes_validate.utils.all_versions() if it >= OLDEST})

every_case = pytest.mark.parametrize("values", CASES.values(), ids=CASES)


@pytest.fixture(scope="module")
def schemas():
    """Has each of Kubernetes' schemas read once."""
    with pytest.MonkeyPatch.context() as patch:
        read = kubernetes_validate.utils.schema_contents
        patch.setattr(kubernetes_validate.utils, "schema_contents", functools.cache(read))
        yield


def serving(manifests):
    return one(manifests, "Deployment")["spec"]["template"]["spec"]


def container(pod):
    (found,) = pod["containers"]
    return found


# What is rendered


@every_case
def test_the_linter_finds_nothing(values):
    found = helm.lint(CHART, values, kube_version=f"v{OLDEST}.0")
    assert found["errors"] == []
    assert [it for it in found["messages"] if it["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@every_case
def test_kubernetes_accepts_every_manifest(values, version, schemas):
    for manifest in rendered(values):
        if manifest["kind"] != "ServiceMonitor":  # of an operator, no part of Kubernetes
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_would_be_refused(schemas):
    wrong = one(rendered(), "Deployment") | {"sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_supported_versions_are_those_that_the_chart_says():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"
    assert VERSIONS[:4] == ["1.33", "1.34", "1.35", "1.36"]


def test_the_chart_is_of_this_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert container(serving(rendered()))["image"] == f"loaner:{__version__}"


def test_a_digest_wins_over_a_tag():
    image = container(serving(rendered(FULL)))["image"]
    assert image == f"registry.example.com:5000/loans/loaner@sha256:{'0' * 64}"


@every_case
def test_rendering_twice_gives_the_same(values):
    with helm.Chart.load(CHART) as chart:
        once, again = (chart.render(values, name="loaner", namespace="microkubes") for _ in range(2))
    assert once == again


@every_case
def test_no_manifest_is_there_twice(values):
    names = [(it["kind"], it["metadata"]["name"]) for it in rendered(values)]
    assert len(names) == len(set(names))


def test_two_releases_in_one_namespace_share_no_name():
    names = [
        {(it["kind"], it["metadata"]["name"]) for it in rendered(FULL, name=release)}
        for release in ("loaner", "second")
    ]
    assert names[0].isdisjoint(names[1])


# What is refused


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"setings": {}}, "setings"),
        ({"settings": {"PSQL_HSOT": "db"}}, "/settings.*PSQL_HSOT"),
        ({"settings": {"psql_host": "db"}}, "/settings.*psql_host"),
        ({"settings": {"DRAIN_S": "5"}}, "/settings/DRAIN_S"),
        ({"settings": {"WORKERS": 0}}, "/settings/WORKERS"),
        ({"settings": {"SECURE_LOANS": "false"}}, "/settings/SECURE_LOANS"),
        ({"settings": {"LOG_LEVEL": "LOUD"}}, "/settings/LOG_LEVEL"),
        ({"settings": {"API_GATEWAY_URL": "kong:8001"}}, "/settings/API_GATEWAY_URL"),
        ({"settings": {"KEYS_DIR": "keys"}}, "/settings.*KEYS_DIR"),
        ({"settings": {"PSQL_ADMIN_USER": "postgres"}}, "/settings.*PSQL_ADMIN_USER"),
        ({"settings": {"PORT": None}}, "PORT"),
        ({"secretSettings": {"PSQL_PASS": {"name": "a", "key": "b"}}}, "/secretSettings.*PSQL_PASS"),
        ({"secretSettings": {"PSQL_PW": {"nmae": "a", "key": "b"}}}, "/secretSettings/PSQL_PW.*nmae"),
        ({"image": {"digest": "sha256:12"}}, "/image/digest"),
        ({"resources": {"limits": {"memory": "1 GB"}}}, "/resources/limits/memory"),
        ({"resources": {"limits": {"memmory": "1Gi"}}}, "/resources/limits.*memmory"),
        ({"discovery": "dns"}, "/discovery"),
        ({"replicaCount": "two"}, "/replicaCount"),
        ({"networkPolicy": {"to": {"redis": {}}}}, "/networkPolicy/to.*redis"),
        ({"networkPolicy": {"from": [{}]}}, "/networkPolicy/from/0"),
        ({"ingress": {"hosts": ["loans.example.com"]}}, "/ingress/hosts/0"),
        ({"gatewayPlugins": [{"nmae": "rate-limiting"}]}, "/gatewayPlugins/0.*nmae"),
        ({"libpq": {"PGPASSWORD": "x"}}, "/libpq.*PGPASSWORD"),
        ({"test": {"settings": {"CLIENT": "x"}}}, "/test/settings.*CLIENT"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(values, named):
    with pytest.raises(helm.HelmError) as refusal:
        rendered(values)
    assert re.search(named, str(refusal.value), re.DOTALL)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"settings": {"PSQL_USER": "a"}, "secretSettings": {"PSQL_USER": {"name": "a", "key": "b"}}}, "PSQL_USER"),
        ({"settings": {"PSQL_HOST": None}}, r"settings\.PSQL_HOST"),
        ({"settings": {"MEMCACHED_SERVERS": "cache"}}, r"secretSettings\.CACHE_SECRET"),
        ({"secretSettings": {"PSQL_PW": None}}, r"secretSettings\.PSQL_PW is needed"),
        ({"settings": {"VAULT_KUBERNETES_ROLE": "loaner"}}, r"secretSettings\.PSQL_PW and .*USE_VAULT"),
        ({"settings": {"API_GATEWAY_URL": "http://admin:hush@kong:8001"}}, r"settings\.API_GATEWAY_URL has a password"),
        ({"ingress": {"enabled": True}}, r"ingress\.hosts"),
    ],
)
def test_values_that_do_not_fit_together_are_refused_with_their_names(values, named):
    with pytest.raises(helm.HelmError, match=named) as refusal:
        rendered(values)
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_secret_written_into_the_values_is_refused_and_not_repeated(name):
    with pytest.raises(helm.HelmError) as refusal:
        rendered({"settings": {name.upper(): "hush-hush"}})
    assert name.upper() in str(refusal.value)
    assert "hush-hush" not in str(refusal.value)


def test_the_schema_leaves_nothing_open():
    def closed(part, path):
        if part.get("type") == "object" and path not in ("/global", "/gatewayPlugins/config"):
            assert "additionalProperties" in part, path
            assert part["additionalProperties"] is False or part["additionalProperties"] == {"type": "string"}, path
        for name, inner in {**part.get("properties", {}), **part.get("definitions", {})}.items():
            closed(inner, f"{path}/{name}")
        if "items" in part:
            closed(part["items"], path)

    closed(json.loads(SCHEMA.read_text()), "")


def test_every_value_is_in_the_file_of_values():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == json.loads(SCHEMA.read_text())["properties"].keys() - {"global"}


def test_every_value_is_used():
    def leaves(part):
        for name, inner in part.items():
            if isinstance(inner, dict) and inner and name not in ("settings", "secretSettings", "resources"):
                yield from leaves(inner)
            else:
                yield name

    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    unused = [
        name
        for name in leaves(yaml.safe_load((CHART / "values.yaml").read_text()))
        if not re.search(rf"\.{name}\b", templates)
    ]
    assert unused == []


# Settings


def test_the_schema_knows_the_settings_as_they_are():
    definitions = json.loads(SCHEMA.read_text())["definitions"]
    told = {name: definitions[name] for name in settings_schema()}
    assert told == settings_schema(), "bring it up to date: python -m tests.deploy.settings_schema"


def test_what_the_chart_reads_of_the_settings_has_their_defaults():
    values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    for name in READ_BY_CHART:
        assert values[name] == SETTINGS[name].default, name


@every_case
def test_every_variable_is_a_setting(values):
    manifests = rendered(values)
    names = {entry["name"] for pod in pods(manifests) for entry in container(pod)["env"]}
    names |= one(manifests, "ConfigMap")["data"].keys()
    not_ours = {name for name in names if not name.startswith("PG")} - SETTINGS.keys()
    assert not_ours <= {"HOST_IP"}


@every_case
def test_the_service_reads_the_settings_as_they_were_written(values, monkeypatch):
    data = one(rendered(values), "ConfigMap")["data"]
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, text in data.items():
        monkeypatch.setenv(name, text)
    read = load_settings(_env_file=None, cache_secret=SecretStr("0" * 32))
    with helm.Chart.load(CHART) as chart:
        written = chart.merge_values(values)["settings"]
    for name, value in written.items():
        assert getattr(read, name.lower()) == value, name


@every_case
def test_secrets_are_only_referred_to(values):
    manifests = rendered(values)
    assert not [it for it in manifests if it["kind"] == "Secret"]
    for it in manifests:
        if it["kind"] == "ConfigMap":
            assert not {name.lower() for name in it["data"]} & SECRET
    for pod in pods(manifests):
        for entry in container(pod)["env"]:
            assert entry["name"].lower() not in SECRET or entry.keys() == {"name", "valueFrom"}


def test_only_the_migration_knows_the_owner_of_the_tables():
    manifests = rendered(FULL)
    assert "PSQL_ADMIN" not in json.dumps([it for it in manifests if it["kind"] != "Job"])
    assert "PSQL_ADMIN_PW" in json.dumps(one(manifests, "Job", "loaner-migrate"))


def test_plugins_are_read_as_they_were_written(tmp_path):
    data = one(rendered(FULL), "ConfigMap", "loaner-plugins")["data"]
    (tmp_path / "plugins.json").write_text(data["plugins.json"])
    (plugin,) = read_plugins(tmp_path / "plugins.json")
    assert plugin.fields["config"] == {"minute": 6_000_000, "policy": "local"}


def test_no_plugins_are_declared_unless_they_are_written_down():
    assert "GATEWAY_PLUGINS" not in one(rendered(), "ConfigMap")["data"]
    assert one(rendered({"gatewayPlugins": []}), "ConfigMap", "loaner-plugins")["data"] == {
        "plugins.json": '{"plugins":[]}'
    }


@pytest.mark.parametrize(
    ("discovery", "settings"),
    [
        ("consul", {"SERVICE_DISCOVERY": "consul", "SERVICE_HOST": "loaner.service.consul"}),
        ("agent", {"SERVICE_DISCOVERY": "consul", "SERVICE_HOST": "loaner.service.consul"}),
        ("service", {"SERVICE_DISCOVERY": "consul", "SERVICE_HOST": "loaner.microkubes.svc"}),
        ("upstream", {"SERVICE_DISCOVERY": "upstream"}),
        ("none", {"SERVICE_DISCOVERY": "none"}),
    ],
)
def test_the_gateway_finds_the_pods(discovery, settings):
    manifests = rendered({"discovery": discovery})
    data = one(manifests, "ConfigMap")["data"]
    assert {name: text for name, text in data.items() if name in ("SERVICE_DISCOVERY", "SERVICE_HOST")} == settings
    annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    known = {name: text for name, text in annotations.items() if name.startswith("consul.")}
    expected = {"consul.register/enabled": "true", "consul.register/service.name": "loaner"}
    assert known == (expected if discovery == "consul" else {})
    assert ("CONSUL_AGENT_URL" in json.dumps(serving(manifests))) == (discovery == "agent")


def test_a_host_that_is_said_is_taken():
    data = one(rendered({"settings": {"SERVICE_HOST": "loans.example.com"}}), "ConfigMap")["data"]
    assert data["SERVICE_HOST"] == "loans.example.com"


# Pods


@every_case
def test_every_pod_is_restricted(values):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for pod in pods(rendered(values)):
        whole = pod["securityContext"]
        assert (whole["runAsNonRoot"], whole["runAsUser"], whole["runAsGroup"]) == (True, 10001, 10001)
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(volume.keys() <= {"name", "emptyDir", "secret", "configMap"} for volume in pod["volumes"])
        assert pod["enableServiceLinks"] is False
        mounts = {mount["name"]: mount for mount in container(pod)["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
        assert [name for name, mount in mounts.items() if not mount.get("readOnly")] == ["tmp"]


def test_secrets_are_readable_to_the_pods_group_only():
    pod = serving(rendered(FULL))
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    modes = {volume["name"]: volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume}
    assert modes == {"keys": 0o440, "clients": 0o440}


def test_of_the_secret_of_an_authority_only_its_certificate_is_mounted():
    for pod in pods(rendered(FULL | {"certificates": {"secretName": "authority"}}))[:2]:
        (volume,) = (it for it in pod["volumes"] if it["name"] == "certificates")
        assert volume["secret"] == {"secretName": "authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    with pytest.raises(helm.HelmError, match=r"certificates\.secretName are both set"):
        rendered({"certificates": {"configMapName": "authorities", "secretName": "authority"}})


def test_the_files_of_the_keys_can_be_chosen():
    (keys,) = (volume["secret"] for volume in serving(rendered(FULL))["volumes"] if volume["name"] == "keys")
    assert [item["path"] for item in keys["items"]] == FULL["keys"]["items"]


@pytest.mark.parametrize(
    ("values", "mounted"), [({}, False), (FULL, True), ({"settings": {"USE_VAULT": True, "VAULT_ROLE_ID": "a"}}, False)]
)
def test_a_pod_gets_a_token_only_to_log_in_to_vault(values, mounted):
    manifests = rendered(values)
    assert serving(manifests)["automountServiceAccountToken"] is mounted
    assert one(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    tasks = [pod for pod in pods(manifests) if pod is not serving(manifests)]
    assert [pod["automountServiceAccountToken"] for pod in tasks] == [False, False]


def test_probes_ask_for_what_they_are_for():
    pod = container(serving(rendered()))
    asked = {name: pod[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startup": "/healthcheck", "liveness": "/healthcheck", "readiness": "/ready",
    }  # fmt: skip
    assert {probe["port"] for probe in asked.values()} == {"http"}
    assert {port["name"]: port["containerPort"] for port in pod["ports"]} == {"http": 5555}


def test_with_a_certificate_everybody_speaks_https():
    manifests = rendered(TLS)
    pod = container(serving(manifests))
    assert {pod[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "liveness", "readiness")} == {"HTTPS"}
    annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/scheme"] == "https"
    (endpoint,) = one(manifests, "ServiceMonitor")["spec"]["endpoints"]
    authority = {"secret": {"name": "loaner-tls", "key": "ca.crt"}}
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"] == {"serverName": "loaner.microkubes.svc", "ca": authority}
    assert one(manifests, "Service")["spec"]["ports"][0]["appProtocol"] == "https"
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["volumeMounts"]}
    data = one(manifests, "ConfigMap")["data"]
    assert (data["TLS_CERT"], data["TLS_KEY"]) == (f"{mounts['tls']}/tls.crt", f"{mounts['tls']}/tls.key")


@every_case
def test_a_pod_has_time_to_start(values):
    manifests = rendered(values)
    data, probe = one(manifests, "ConfigMap")["data"], container(serving(manifests))["startupProbe"]
    needs = float(data["GATEWAY_TIMEOUT_S"]) * (2 if "GATEWAY_PROXY_URL" in data else 1)
    needs += 2 * float(data["VAULT_TIMEOUT_S"]) if "VAULT_ADDR" in data else 0
    assert probe["periodSeconds"] * probe["failureThreshold"] >= needs + 15


@every_case
def test_a_pod_has_time_to_stop(values):
    manifests = rendered(values)
    needs = float(one(manifests, "ConfigMap")["data"]["DRAIN_S"]) + LEAVE_S + STOP_TIMEOUT_S + 2 * STOP_S
    grace = serving(manifests)["terminationGracePeriodSeconds"]
    assert needs + 5 <= grace <= math.ceil(needs) + 15


def test_a_pod_has_by_default_the_time_that_the_documents_tell():
    assert serving(rendered())["terminationGracePeriodSeconds"] == 45


def test_a_changed_setting_replaces_the_pods_and_nothing_else_does():
    def checksum(**values):
        return one(rendered(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum(settings={"LOG_LEVEL": "DEBUG"}) != checksum()
    assert checksum(gatewayPlugins=[]) != checksum()
    assert checksum(replicaCount=5) == checksum()


@every_case
def test_selectors_find_the_pods_that_serve_and_no_others(values):
    manifests = rendered(values)
    labels = {it["metadata"]["name"]: t["metadata"]["labels"] for it in manifests if (t := template_of(it))}
    selectors = {
        "Deployment": one(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        "Service": one(manifests, "Service")["spec"]["selector"],
    }
    for it in manifests:
        if it["kind"] == "PodDisruptionBudget":
            selectors["PodDisruptionBudget"] = it["spec"]["selector"]["matchLabels"]
        if it["kind"] == "NetworkPolicy" and it["metadata"]["name"] == "loaner":
            selectors["NetworkPolicy"] = it["spec"]["podSelector"]["matchLabels"]
    for spread in serving(manifests)["topologySpreadConstraints"]:
        selectors[spread["topologyKey"]] = spread["labelSelector"]["matchLabels"]
    assert len(selectors) >= 4
    for kind, selector in selectors.items():
        assert [name for name in labels if selector.items() <= labels[name].items()] == ["loaner"], kind


def test_policies_of_the_tasks_select_their_pods():
    manifests = rendered(FULL)
    for name, kind in (("loaner-migrate", "Job"), ("loaner-test", "Pod")):
        selector = one(manifests, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"]
        assert selector.items() <= template_of(one(manifests, kind, name))["metadata"]["labels"].items()


def test_prometheus_finds_the_metrics():
    manifests = rendered(FULL)
    annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == one(manifests, "ConfigMap")["data"]["PORT"]
    monitor, service = one(manifests, "ServiceMonitor"), one(manifests, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_the_autoscaler_alone_counts_the_pods():
    manifests = rendered(FULL)
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    target = one(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "loaner")


def test_an_ingress_leads_to_the_service():
    manifests = rendered(FULL)
    for rule in one(manifests, "Ingress")["spec"]["rules"]:
        service = rule["http"]["paths"][0]["backend"]["service"]
        assert service == {"name": one(manifests, "Service")["metadata"]["name"], "port": {"name": "http"}}


def egress_ports(manifests, name="loaner"):
    rules = one(manifests, "NetworkPolicy", name)["spec"]["egress"]
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_pods_may_ask_what_the_settings_name():
    manifests = rendered(FULL)
    assert egress_ports(manifests) == {53, 443, 8000, 5432, 5433, 5434, MEMCACHED_PORT, 11212, 8200, 8500}
    assert egress_ports(manifests, "loaner-migrate") == {53, 5432, 5433, 5434}
    rules = one(manifests, "NetworkPolicy")["spec"]["egress"]
    (postgres,) = (rule for rule in rules if {"port": 5433, "protocol": "TCP"} in rule["ports"])
    assert postgres["to"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({}, {8001, SETTINGS["PSQL_PORT"].default, SETTINGS["VAULT_PORT"].default}),
        ({"VAULT_ADDR": "https://vault:8243/", "VAULT_PORT": 1}, {8001, 5432, 8243}),
        ({"VAULT_PORT": 8300, "PSQL_PORT": 6432, "PSQL_HOST": "2001:db8::1"}, {8001, 6432, 8300}),
        ({"API_GATEWAY_URL": "http://kong/admin", "PSQL_HOST": "[2001:db8::1]"}, {80, 5432, 8200}),
    ],
)
def test_ports_that_the_settings_leave_out_are_the_usual_ones(settings, ports):
    vault = {"settings": {"VAULT_KUBERNETES_ROLE": "loaner", **settings}, "secretSettings": {"PSQL_PW": None}}
    assert egress_ports(rendered({**vault, "networkPolicy": {"enabled": True}})) == {53, *ports}


def test_ports_and_peers_that_are_said_are_taken():
    said = {"ports": [8444], "peers": [{"podSelector": {"matchLabels": {"app": "kong"}}}]}
    manifests = rendered({"networkPolicy": {"enabled": True, "to": {"gateway": said}}})
    rules = one(manifests, "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": 8444, "protocol": "TCP"}], "to": said["peers"]} in rules
    assert egress_ports(manifests) == {53, 8444, 5432}


# What runs before and after


def test_a_migration_needs_nothing_that_is_installed_after_it():
    manifests = rendered(FULL)
    policy, job = (one(manifests, kind, "loaner-migrate") for kind in ("NetworkPolicy", "Job"))
    when = [it["metadata"]["annotations"] for it in (policy, job)]
    assert {it["helm.sh/hook"] for it in when} == {"pre-install,pre-upgrade"}
    assert int(when[0]["helm.sh/hook-weight"]) < int(when[1]["helm.sh/hook-weight"])
    (pod,) = pods([job])
    assert "envFrom" not in container(pod)
    assert "serviceAccountName" not in pod
    made = {it["metadata"]["name"] for it in manifests if it["kind"] == "ConfigMap"}
    used = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert used == {"authorities"}
    assert used.isdisjoint(made)


def test_a_migration_reaches_the_database_that_is_served():
    manifests = rendered(FULL)
    environment = {
        entry["name"]: entry for entry in container(pods([one(manifests, "Job", "loaner-migrate")])[0])["env"]
    }
    data = one(manifests, "ConfigMap")["data"]
    for name in ("PSQL_HOST", "PGSSLMODE", "PGSSLROOTCERT"):
        assert environment[name]["value"] == data[name]
    assert environment["PSQL_DB"]["valueFrom"]["secretKeyRef"] == FULL["secretSettings"]["PSQL_DB"]
    assert environment["PSQL_ADMIN_PW"]["valueFrom"]["secretKeyRef"] == {"name": "owner", "key": "password"}


def test_without_a_secret_there_is_nothing_to_test_with():
    assert not [it for it in rendered(MINIMAL) if it["kind"] == "Pod"]


def notes(values):
    with helm.Chart.load(CHART) as chart:
        return chart.render(values, name="loaner", namespace="microkubes")["loaner/templates/NOTES.txt"]


def test_the_notes_tell_what_to_do_next():
    assert "helm -n microkubes test loaner --logs" in notes({})
    assert "settings.TRUSTED_PROXIES is not set" in notes({})
    assert "TRUSTED_PROXIES" not in notes(FULL)
    assert "https://example.com/loans" in notes(FULL)
    assert "the gateway behind http://kong-admin:8001 has its route" in notes({})
    alone = notes({"discovery": "none", **TLS})
    assert "https://loaner.microkubes.svc:5555 answers" in alone
    assert "has its route" not in alone
    assert "nothing to prove itself with" in notes(MINIMAL)
    assert "python service.py migrate" in notes(MINIMAL)
    assert "open to everybody" in notes({"settings": {"SECURE_LOANS": False}})
