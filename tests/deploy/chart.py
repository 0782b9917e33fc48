"""The chart, rendered by a real Helm engine."""

import functools
import json
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

helm = pytest.importorskip(
    "helm_python", reason="helm_python is not installed: pip install -r tests/requirements.txt (not on every platform)"
)

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # much faster, if libyaml is available
CHART = ROOT / "deploy" / "helm"
Manifest = dict[str, Any]

_REFERENCE = {"name": "existing", "key": "value"}
MINIMAL = {
    "secretSettings": {"SECRET": None},
    "migrations": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "serviceAccount": {"create": False},
    "metrics": {"annotations": False},
    "replicaCount": 1,
    "resources": None,
}
FULL = {
    "image": {"repository": "registry.example.com:5000/loans/loaner", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": ["registry"],
    "settings": {
        "API_GATEWAY_URL": "https://kong-admin.kong.svc",
        "GATEWAY_PROXY_URL": "http://kong-proxy:8000",
        "PSQL_HOST": "db1, db2:5433, [2001:db8::1]:5434",
        "MEMCACHED_SERVERS": "cache1, cache2:11212",
        "CACHE_BYTES": 64_000_000,
        "PSQL_POOL_TIMEOUT_S": 0.25,
        "DRAIN_S": 7.5,
        "SECURE_LOANS": True,
        "TRUSTED_PROXIES": "10.244.0.0/16",
        "VAULT_ADDR": "https://vault.vault.svc",
        "VAULT_CA": "/etc/loaner/certificates/ca.crt",
        "VAULT_KUBERNETES_ROLE": "loaner",
        "VAULT_POSTING_ROLE": "posting",
    },
    "secretSettings": {"PSQL_PW": None, "CACHE_SECRET": _REFERENCE, "CONSUL_TOKEN": _REFERENCE, "PSQL_DB": _REFERENCE},
    "libpq": {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/etc/loaner/certificates/ca.crt"},
    "keys": {"items": ["default.pub", "system.pub", "loaner", "loaner.pub"]},
    "clients": {"secretName": "clients"},
    "certificates": {"configMapName": "authorities"},
    "gatewayPlugins": [{"name": "rate-limiting", "config": {"minute": 6_000_000, "policy": "local"}}],
    "discovery": "agent",
    "service": {"annotations": {"example.com/owner": "loans"}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"example.com/owner": "loans"},
        "hosts": [{"host": "loans.example.com"}, {"host": "example.com", "path": "/loans"}],
        "tls": [{"secretName": "loans-tls", "hosts": ["loans.example.com"]}],
    },
    "httpRoute": {
        "enabled": True,
        "annotations": {"example.com/owner": "loans"},
        "parentRefs": [{"name": "kong", "namespace": "kong", "sectionName": "https"}],
        "hostnames": ["loans.example.com", "*.example.com"],
        "path": "/loans/v2",
    },
    "migrations": {"secretSettings": {"PSQL_ADMIN_PW": {"name": "owner", "key": "password"}}},
    "autoscaling": {"enabled": True},
    "resources": {"limits": {"cpu": 1.5}},
    "podDisruptionBudget": {"maxUnavailable": "25%"},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "to": {"postgres": {"peers": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    },
    "serviceAccount": {"annotations": {"example.com/owner": "loans"}},
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "test": {"settings": {"CLIENT_ID": "reports"}, "secretSettings": {"SECRET": {"name": "reports", "key": "SECRET"}}},
    "podAnnotations": {"example.com/owner": "loans"},
    "podLabels": {"team": "loans"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 30}],
    "priorityClassName": "high",
}
TLS = {"tls": {"secretName": "loaner-tls"}, "metrics": {"serviceMonitor": {"enabled": True}}}
REWRITE = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}], "stripPath": "rewrite"}}
CASES = {"default": {}, "minimal": MINIMAL, "full": FULL, "tls": TLS, "rewrite": REWRITE}


def rendered(values: Manifest | None = None, name: str = "loaner") -> list[Manifest]:
    """Return every manifest of a release.

    Args:
        values: Values of the chart.
        name: Name of the release.

    Raises:
        helm.HelmError: If the chart rejects the values.
    """
    return json.loads(_rendered(json.dumps(values or {}), name))


@functools.cache
def _rendered(values: str, release: str) -> str:
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(json.loads(values))
        files = chart.render(json.loads(values), name=release, namespace="microkubes")
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return json.dumps([found for text in texts for found in yaml.load_all(text, LOADER) if found])


def one(manifests: list[Manifest], kind: str, name: str = "loaner") -> Manifest:
    """Return the only manifest of this kind and name."""
    (found,) = (it for it in manifests if it["kind"] == kind and it["metadata"]["name"] == name)
    return found


def template_of(manifest: Manifest) -> Manifest | None:
    """Return the pod template of a manifest; None if it creates no pods."""
    if manifest["kind"] == "Pod":
        return manifest
    return manifest["spec"].get("template") if manifest["kind"] in ("Deployment", "Job") else None


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """Return the pod specifications: of the deployment, the migration and the test."""
    return [template["spec"] for it in manifests if (template := template_of(it))]


def environment_of(pod: Manifest, manifests: list[Manifest], secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the environment of a pod's container.

    Args:
        pod: Specification of the pod.
        manifests: All manifests of the release.
        secrets: Secrets that exist, {name: {key: value}}.
    """
    (container,) = pod["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        found |= one(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container["env"]:
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        found[entry["name"]] = secrets[reference["name"]][reference["key"]] if reference else entry["value"]
    return found
