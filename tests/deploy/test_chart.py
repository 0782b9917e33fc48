"""The Helm chart: rendered manifests, rejected values, settings, pods and hooks."""

import base64
import functools
import json
import math
import re
from xml.etree import ElementTree

import kubernetes_validate
import pytest
import yaml
from pydantic import SecretStr

from service import __version__
from service.gateway.plugins_file import read_plugins
from service.runtime.graceful_shutdown import DEREGISTER_TIMEOUT_S
from service.runtime.server import KILL_TIMEOUT_S
from service.settings import MEMCACHED_PORT, all_settings, given_settings, load_settings
from service.vault.session import REVOKE_TIMEOUT_S
from tests.deploy.chart import (
    CASES,
    CHART,
    FULL,
    MINIMAL,
    REWRITE,
    TLS,
    helm,
    one,
    pods,
    rendered,
    template_of,
)
from tests.deploy.settings_schema import READ_BY_CHART, SCHEMA, described, settings_schema

SETTINGS = {name: info for name, info, _ in all_settings()}
SECRET = {name.lower() for name, field in described().items() if "writeOnly" in str(field)}
OLDEST = "1.33"
VERSIONS = sorted({".".join(it.split(".")[:2]) for it in kubernetes_validate.utils.all_versions() if it >= OLDEST})

every_case = pytest.mark.parametrize("values", CASES.values(), ids=CASES)


@pytest.fixture(scope="module")
def schemas():
    """Cache the Kubernetes schemas, which are large."""
    with pytest.MonkeyPatch.context() as patch:
        read = kubernetes_validate.utils.schema_contents
        patch.setattr(kubernetes_validate.utils, "schema_contents", functools.cache(read))
        yield


def serving(manifests):
    return one(manifests, "Deployment")["spec"]["template"]["spec"]


def container(pod):
    (found,) = pod["containers"]
    return found


# Rendering


@every_case
def test_helm_lint_passes(values):
    found = helm.lint(CHART, values, kube_version=f"v{OLDEST}.0")
    assert found["errors"] == []
    assert [it for it in found["messages"] if it["severity"] > 1] == []


@pytest.mark.parametrize("version", VERSIONS)
@every_case
def test_manifests_match_the_kubernetes_schemas(values, version, schemas):
    for manifest in rendered(values):
        if manifest["kind"] not in (
            "ServiceMonitor",
            "PrometheusRule",
            "HTTPRoute",
        ):  # custom resources without a schema here
            kubernetes_validate.validate(manifest, version, strict=True)


def test_schema_check_rejects_an_unknown_field(schemas):
    wrong = one(rendered(), "Deployment") | {"sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_chart_declares_the_versions_under_test():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"
    assert VERSIONS[:4] == ["1.33", "1.34", "1.35", "1.36"]


def test_chart_version_is_the_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert container(serving(rendered()))["image"] == f"loaner:{__version__}"


def test_chart_presents_itself():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert [maintainer["name"] for maintainer in chart["maintainers"]] == ["Loaner maintainers"]
    kind, _, image = chart["icon"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert ElementTree.fromstring(base64.b64decode(image, validate=True)).tag == "{http://www.w3.org/2000/svg}svg"


def test_readme_of_the_chart_names_values_that_exist():
    table = (CHART / "README.md").read_text().partition("| value |")[2].partition("\n\n")[0]
    names = [name for row in table.splitlines()[2:] for name in re.findall(r"`([\w.]+)`", row.split("|")[1])]
    assert len(names) > 10
    for name in names:
        value = yaml.safe_load((CHART / "values.yaml").read_text())
        for part in name.split("."):
            value = value[part]


def test_digest_overrides_the_tag():
    image = container(serving(rendered(FULL)))["image"]
    assert image == f"registry.example.com:5000/loans/loaner@sha256:{'0' * 64}"


@every_case
def test_rendering_is_deterministic(values):
    with helm.Chart.load(CHART) as chart:
        first, second = (chart.render(values, name="loaner", namespace="microkubes") for _ in range(2))
    assert first == second


@every_case
def test_manifest_names_are_unique(values):
    names = [(it["kind"], it["metadata"]["name"]) for it in rendered(values)]
    assert len(names) == len(set(names))


def test_two_releases_in_one_namespace_have_distinct_names():
    names = [
        {(it["kind"], it["metadata"]["name"]) for it in rendered(FULL, name=release)}
        for release in ("loaner", "second")
    ]
    assert names[0].isdisjoint(names[1])


# Rejected values


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
        ({"httpRoute": {"path": "loaner"}}, "/httpRoute/path"),
        ({"httpRoute": {"path": "/loaner/"}}, "/httpRoute/path"),  # no valid X-Forwarded-Prefix
        ({"httpRoute": {"stripPath": "no"}}, "/httpRoute/stripPath"),
        ({"httpRoute": {"parentRefs": ["kong"]}}, "/httpRoute/parentRefs/0"),
        ({"gatewayPlugins": [{"nmae": "rate-limiting"}]}, "/gatewayPlugins/0.*nmae"),
        ({"libpq": {"PGPASSWORD": "x"}}, "/libpq.*PGPASSWORD"),
        ({"test": {"settings": {"CLIENT": "x"}}}, "/test/settings.*CLIENT"),
    ],
)
def test_invalid_value_is_rejected_by_name(values, named):
    with pytest.raises(helm.HelmError) as refusal:
        rendered(values)
    assert re.search(named, str(refusal.value), re.DOTALL)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"settings": {"PSQL_USER": "a"}, "secretSettings": {"PSQL_USER": {"name": "a", "key": "b"}}}, "PSQL_USER"),
        ({"settings": {"PSQL_HOST": None}}, r"settings\.PSQL_HOST"),
        ({"settings": {"MEMCACHED_SERVERS": "cache"}}, r"secretSettings\.CACHE_SECRET"),
        ({"secretSettings": {"PSQL_PW": None}}, r"secretSettings\.PSQL_PW is required"),
        ({"settings": {"VAULT_KUBERNETES_ROLE": "loaner"}}, r"secretSettings\.PSQL_PW and .*USE_VAULT"),
        (
            {"settings": {"API_GATEWAY_URL": "http://admin:hush@kong:8001"}},
            r"settings\.API_GATEWAY_URL contains a password",
        ),
        ({"ingress": {"enabled": True}}, r"ingress\.hosts"),
        ({"httpRoute": {"enabled": True}}, r"httpRoute\.parentRefs"),
    ],
)
def test_conflicting_values_are_rejected_by_name(values, named):
    with pytest.raises(helm.HelmError, match=named) as refusal:
        rendered(values)
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize("name", sorted(SECRET))
def test_secret_in_the_values_is_rejected_and_not_repeated(name):
    with pytest.raises(helm.HelmError) as refusal:
        rendered({"settings": {name.upper(): "hush-hush"}})
    assert name.upper() in str(refusal.value)
    assert "hush-hush" not in str(refusal.value)


def test_schema_rejects_unknown_properties():
    def assert_closed(part, path):
        if part.get("type") == "object" and path not in ("/global", "/gatewayPlugins/config"):
            assert "additionalProperties" in part, path
            assert part["additionalProperties"] is False or part["additionalProperties"] == {"type": "string"}, path
        for name, inner in {**part.get("properties", {}), **part.get("definitions", {})}.items():
            assert_closed(inner, f"{path}/{name}")
        if "items" in part:
            assert_closed(part["items"], path)

    assert_closed(json.loads(SCHEMA.read_text()), "")


def test_values_file_lists_every_value_of_the_schema():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert values.keys() == json.loads(SCHEMA.read_text())["properties"].keys() - {"global"}


def test_templates_use_every_value():
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


def test_schema_matches_the_settings_of_the_service():
    definitions = json.loads(SCHEMA.read_text())["definitions"]
    current = {name: definitions[name] for name in settings_schema()}
    assert current == settings_schema(), "out of date; run: python -m tests.deploy.settings_schema"


def test_settings_that_templates_read_have_the_defaults_of_the_service():
    values = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    for name in READ_BY_CHART:
        assert values[name] == SETTINGS[name].default, name


@every_case
def test_every_environment_variable_is_a_setting(values):
    manifests = rendered(values)
    names = {entry["name"] for pod in pods(manifests) for entry in container(pod)["env"]}
    names |= one(manifests, "ConfigMap")["data"].keys()
    others = {name for name in names if not name.startswith("PG")} - SETTINGS.keys()
    assert others <= {"HOST_IP"}


@every_case
def test_service_parses_the_settings_as_written(values, monkeypatch):
    data = one(rendered(values), "ConfigMap")["data"]
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, text in data.items():
        monkeypatch.setenv(name, text)
    read = given_settings(load_settings(_env_file=None, cache_secret=SecretStr("0" * 32)))
    with helm.Chart.load(CHART) as chart:
        written = chart.merge_values(values)["settings"]
    for name, value in written.items():
        assert read[name.lower()] == value, name


@every_case
def test_manifests_only_refer_to_secrets(values):
    manifests = rendered(values)
    assert not [it for it in manifests if it["kind"] == "Secret"]
    for it in manifests:
        if it["kind"] == "ConfigMap":
            assert not {name.lower() for name in it["data"]} & SECRET
    for pod in pods(manifests):
        for entry in container(pod)["env"]:
            assert entry["name"].lower() not in SECRET or entry.keys() == {"name", "valueFrom"}


def test_only_the_migration_has_the_owners_credentials():
    manifests = rendered(FULL)
    assert "PSQL_ADMIN" not in json.dumps([it for it in manifests if it["kind"] != "Job"])
    assert "PSQL_ADMIN_PW" in json.dumps(one(manifests, "Job", "loaner-migrate"))


def test_service_parses_the_plugins_as_written(tmp_path):
    data = one(rendered(FULL), "ConfigMap", "loaner-plugins")["data"]
    (tmp_path / "plugins.json").write_text(data["plugins.json"])
    (plugin,) = read_plugins(tmp_path / "plugins.json")
    assert plugin.fields["config"] == {"minute": 6_000_000, "policy": "local"}


def test_plugins_are_declared_only_if_they_are_set():
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
def test_discovery_decides_how_the_gateway_finds_the_pods(discovery, settings):
    manifests = rendered({"discovery": discovery})
    data = one(manifests, "ConfigMap")["data"]
    assert {name: text for name, text in data.items() if name in ("SERVICE_DISCOVERY", "SERVICE_HOST")} == settings
    annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    consul = {name: text for name, text in annotations.items() if name.startswith("consul.")}
    expected = {"consul.register/enabled": "true", "consul.register/service.name": "loaner"}
    assert consul == (expected if discovery == "consul" else {})
    assert ("CONSUL_AGENT_URL" in json.dumps(serving(manifests))) == (discovery == "agent")


def test_explicit_service_host_is_kept():
    data = one(rendered({"settings": {"SERVICE_HOST": "loans.example.com"}}), "ConfigMap")["data"]
    assert data["SERVICE_HOST"] == "loans.example.com"


# Pods


@every_case
def test_pods_meet_the_restricted_security_standard(values):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for pod in pods(rendered(values)):
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 10001, 10001)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
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


def test_mounted_secrets_are_readable_only_by_the_pods_group():
    pod = serving(rendered(FULL))
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    modes = {volume["name"]: volume["secret"]["defaultMode"] for volume in pod["volumes"] if "secret" in volume}
    assert modes == {"keys": 0o440, "clients": 0o440}


def test_only_the_certificate_of_a_ca_secret_is_mounted():
    for pod in pods(rendered(FULL | {"certificates": {"secretName": "authority"}}))[:2]:
        (volume,) = (it for it in pod["volumes"] if it["name"] == "certificates")
        assert volume["secret"] == {"secretName": "authority", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    with pytest.raises(helm.HelmError, match=r"certificates\.secretName are both set"):
        rendered({"certificates": {"configMapName": "authorities", "secretName": "authority"}})


def test_mounted_keys_can_be_selected():
    (keys,) = (volume["secret"] for volume in serving(rendered(FULL))["volumes"] if volume["name"] == "keys")
    assert [item["path"] for item in keys["items"]] == FULL["keys"]["items"]


@pytest.mark.parametrize(
    ("values", "mounted"), [({}, False), (FULL, True), ({"settings": {"USE_VAULT": True, "VAULT_ROLE_ID": "a"}}, False)]
)
def test_service_account_token_is_mounted_only_for_vault_logins(values, mounted):
    manifests = rendered(values)
    assert serving(manifests)["automountServiceAccountToken"] is mounted
    assert one(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    tasks = [pod for pod in pods(manifests) if pod is not serving(manifests)]
    assert [pod["automountServiceAccountToken"] for pod in tasks] == [False, False]


def test_probes_use_their_endpoints():
    pod = container(serving(rendered()))
    probes = {name: pod[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthcheck", "liveness": "/healthcheck", "readiness": "/ready",
    }  # fmt: skip
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {port["name"]: port["containerPort"] for port in pod["ports"]} == {"http": 5555}


def test_tls_secret_switches_all_clients_to_https():
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
def test_startup_probe_allows_enough_time(values):
    manifests = rendered(values)
    data, probe = one(manifests, "ConfigMap")["data"], container(serving(manifests))["startupProbe"]
    needs = float(data["GATEWAY_TIMEOUT_S"])
    needs += 2 * float(data["VAULT_TIMEOUT_S"]) if "VAULT_ADDR" in data else 0
    assert probe["periodSeconds"] * probe["failureThreshold"] >= needs + 15


@every_case
def test_grace_period_allows_enough_time_to_stop(values):
    manifests = rendered(values)
    drain_s = float(one(manifests, "ConfigMap")["data"]["DRAIN_S"])
    needs = drain_s + DEREGISTER_TIMEOUT_S + KILL_TIMEOUT_S + 2 * REVOKE_TIMEOUT_S
    grace = serving(manifests)["terminationGracePeriodSeconds"]
    assert needs + 5 <= grace <= math.ceil(needs) + 15


def test_default_grace_period_is_the_documented_one():
    assert serving(rendered())["terminationGracePeriodSeconds"] == 45


def test_only_changed_configuration_replaces_the_pods():
    def checksum(**values):
        return one(rendered(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum(settings={"LOG_LEVEL": "DEBUG"}) != checksum()
    assert checksum(gatewayPlugins=[]) != checksum()
    assert checksum(replicaCount=5) == checksum()


@every_case
def test_selectors_match_only_the_serving_pods(values):
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


def test_network_policies_of_tasks_select_their_pods():
    manifests = rendered(FULL)
    for name, kind in (("loaner-migrate", "Job"), ("loaner-test", "Pod")):
        selector = one(manifests, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"]
        assert selector.items() <= template_of(one(manifests, kind, name))["metadata"]["labels"].items()


def test_prometheus_can_scrape_the_metrics():
    manifests = rendered(FULL)
    annotations = one(manifests, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == one(manifests, "ConfigMap")["data"]["PORT"]
    monitor, service = one(manifests, "ServiceMonitor"), one(manifests, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_autoscaler_replaces_the_replica_count():
    manifests = rendered(FULL)
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    target = one(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "loaner")


def test_ingress_routes_to_the_service():
    manifests = rendered(FULL)
    for rule in one(manifests, "Ingress")["spec"]["rules"]:
        service = rule["http"]["paths"][0]["backend"]["service"]
        assert service == {"name": one(manifests, "Service")["metadata"]["name"], "port": {"name": "http"}}


@pytest.mark.parametrize("values", [FULL, REWRITE], ids=["kong", "rewrite"])
def test_http_route_leads_to_the_service(values):
    manifests = rendered(values)
    route, service = one(manifests, "HTTPRoute"), one(manifests, "Service")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    assert route["spec"]["parentRefs"] == values["httpRoute"]["parentRefs"]
    assert route["spec"].get("hostnames") == values["httpRoute"].get("hostnames")
    (rule,) = route["spec"]["rules"]
    (port,) = service["spec"]["ports"]
    assert rule["backendRefs"] == [{"name": service["metadata"]["name"], "port": port["port"]}]


def test_http_route_for_kong_strips_the_path_by_an_annotation():
    route = one(rendered(FULL), "HTTPRoute")
    assert route["metadata"]["annotations"] == {"example.com/owner": "loans", "konghq.com/strip-path": "true"}
    assert route["spec"]["rules"][0]["matches"] == [{"path": {"type": "PathPrefix", "value": "/loans/v2"}}]
    assert "filters" not in route["spec"]["rules"][0]


def test_http_route_for_others_strips_the_path_by_a_filter_and_names_it():
    route = one(rendered(REWRITE), "HTTPRoute")
    assert "annotations" not in route["metadata"]
    assert route["spec"]["rules"][0]["filters"] == [
        {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}},
        {
            "type": "RequestHeaderModifier",
            "requestHeaderModifier": {"set": [{"name": "X-Forwarded-Prefix", "value": "/loaner"}]},
        },
    ]


@pytest.mark.parametrize("strip_path", ["kong", "rewrite"])
def test_http_route_at_the_root_strips_nothing(strip_path):
    values = {"enabled": True, "parentRefs": [{"name": "gateway"}], "path": "/", "stripPath": strip_path}
    route = one(rendered({"httpRoute": values}), "HTTPRoute")
    assert "annotations" not in route["metadata"]
    assert "filters" not in route["spec"]["rules"][0]


def egress_ports(manifests, name="loaner"):
    rules = one(manifests, "NetworkPolicy", name)["spec"]["egress"]
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_egress_allows_the_servers_in_the_settings():
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
def test_egress_uses_default_ports(settings, ports):
    vault = {"settings": {"VAULT_KUBERNETES_ROLE": "loaner", **settings}, "secretSettings": {"PSQL_PW": None}}
    assert egress_ports(rendered({**vault, "networkPolicy": {"enabled": True}})) == {53, *ports}


def test_egress_uses_explicit_ports_and_peers():
    gateway = {"ports": [8444], "peers": [{"podSelector": {"matchLabels": {"app": "kong"}}}]}
    manifests = rendered({"networkPolicy": {"enabled": True, "to": {"gateway": gateway}}})
    rules = one(manifests, "NetworkPolicy")["spec"]["egress"]
    assert {"ports": [{"port": 8444, "protocol": "TCP"}], "to": gateway["peers"]} in rules
    assert egress_ports(manifests) == {53, 8444, 5432}


# Hooks and notes


def test_migration_uses_no_resources_installed_after_it():
    manifests = rendered(FULL)
    policy, job = (one(manifests, kind, "loaner-migrate") for kind in ("NetworkPolicy", "Job"))
    annotations = [it["metadata"]["annotations"] for it in (policy, job)]
    assert {it["helm.sh/hook"] for it in annotations} == {"pre-install,pre-upgrade"}
    assert int(annotations[0]["helm.sh/hook-weight"]) < int(annotations[1]["helm.sh/hook-weight"])
    (pod,) = pods([job])
    assert "envFrom" not in container(pod)
    assert "serviceAccountName" not in pod
    created = {it["metadata"]["name"] for it in manifests if it["kind"] == "ConfigMap"}
    used = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    assert used == {"authorities"}
    assert used.isdisjoint(created)


def test_migration_uses_the_same_database_as_the_service():
    manifests = rendered(FULL)
    environment = {
        entry["name"]: entry for entry in container(pods([one(manifests, "Job", "loaner-migrate")])[0])["env"]
    }
    data = one(manifests, "ConfigMap")["data"]
    for name in ("PSQL_HOST", "PGSSLMODE", "PGSSLROOTCERT"):
        assert environment[name]["value"] == data[name]
    assert environment["PSQL_DB"]["valueFrom"]["secretKeyRef"] == FULL["secretSettings"]["PSQL_DB"]
    assert environment["PSQL_ADMIN_PW"]["valueFrom"]["secretKeyRef"] == {"name": "owner", "key": "password"}


def test_helm_test_is_omitted_without_a_client_secret():
    assert not [it for it in rendered(MINIMAL) if it["kind"] == "Pod"]


def notes(values):
    with helm.Chart.load(CHART) as chart:
        return chart.render(values, name="loaner", namespace="microkubes")["loaner/templates/NOTES.txt"]


def test_notes_say_what_to_do_next():
    assert "helm -n microkubes test loaner --logs" in notes({})
    assert "settings.TRUSTED_PROXIES is not set" in notes({})
    assert "TRUSTED_PROXIES" not in notes(FULL)
    assert "https://example.com/loans" in notes(FULL)
    assert "The gateway at http://kong-admin:8001 then has the route /loaner." in notes({})
    without_gateway = notes({"discovery": "none", **TLS})
    assert "The service then answers at https://loaner.microkubes.svc:5555;" in without_gateway
    assert "has the route" not in without_gateway
    assert "`helm test` is not available" in notes(MINIMAL)
    assert "python service.py migrate" in notes(MINIMAL)
    assert "loan routes do not require a token" in notes({"settings": {"SECURE_LOANS": False}})
