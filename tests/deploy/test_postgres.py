"""deploy/postgres/cloudnativepg.yaml agrees with the service, the chart and the guide."""

import re

import pytest
import yaml

from service.net.hosts import normalized
from service.settings import PostgresSettings
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "postgres"
GUIDE = (ROOT / "docs" / "guides" / "replicas.md").read_text()


@pytest.fixture
def cluster():
    return documents()["Cluster"]


def documents() -> dict[str, dict]:
    found = list(yaml.safe_load_all((FOLDER / "cloudnativepg.yaml").read_text()))
    return {document["kind"]: document for document in found}


def test_users_are_members_of_the_roles_that_migrations_grant_to(cluster):
    granted = set(
        re.findall(r"'(loaner_\w+)'", (ROOT / "service/postgres/migrations/versions/0001_ledger.sql").read_text())
    )
    created = {statement.split()[2] for statement in cluster["spec"]["bootstrap"]["initdb"]["postInitSQL"]}
    roles = {role["name"]: role["inRoles"] for role in cluster["spec"]["managed"]["roles"]}
    assert granted == created == {group for groups in roles.values() for group in groups}
    assert roles == {"loaner": ["loaner_reader"], "loaner_posting": ["loaner_poster"]}


def test_commits_are_synchronous_on_two_servers(cluster):
    assert cluster["spec"]["instances"] >= 3  # with two, the loss of one would stop all posting
    assert cluster["spec"]["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert "synchronous_commit" not in cluster["spec"]["postgresql"]["parameters"]


def test_max_connections_covers_the_instances_of_the_guide(cluster):
    instances, workers, each = map(int, re.search(r"(\d+) x (\d+) x (\d+) = \d+", GUIDE).groups())
    defaults = PostgresSettings()
    assert each == defaults.pool_size + defaults.posting_pool_size + 2
    assert instances * workers * each < int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_backup_belongs_to_this_cluster(cluster):
    backup = documents()["ScheduledBackup"]["spec"]
    assert backup["cluster"]["name"] == cluster["metadata"]["name"]
    assert len(backup["schedule"].split()) == 6
    assert backup["pluginConfiguration"]["name"] == cluster["spec"]["plugins"][0]["name"]


def test_guide_creates_every_secret(cluster):
    spec = cluster["spec"]
    names = [
        spec["bootstrap"]["initdb"]["secret"]["name"],
        *(r["passwordSecret"]["name"] for r in spec["managed"]["roles"]),
    ]
    for name in names:
        assert f"secret generic {name} --type=kubernetes.io/basic-auth" in GUIDE


def test_chart_values_of_the_guide_match_the_cluster(cluster):
    from tests.deploy.chart import environment_of, pods, rendered  # without a Helm engine, skip only this test

    values = yaml.safe_load(re.search(r"```yaml\n(settings: .+?)```", GUIDE, re.DOTALL)[1])
    users = {role["passwordSecret"]["name"]: role["name"] for role in cluster["spec"]["managed"]["roles"]}
    owner = cluster["spec"]["bootstrap"]["initdb"]
    users[owner["secret"]["name"]] = owner["owner"]
    secrets = {name: {"password": f"of {user}"} for name, user in users.items()} | {"loaner": {"SECRET": "s"}}
    manifests = rendered(values)
    serving, migrating = (environment_of(pod, manifests, secrets) for pod in pods(manifests)[:2])
    assert serving["PSQL_PW"] == f"of {PostgresSettings().user}"
    assert serving["PSQL_POSTING_PW"] == f"of {serving['PSQL_POSTING_USER']}"
    assert migrating["PSQL_ADMIN_PW"] == f"of {migrating['PSQL_ADMIN_USER']}"
    name = cluster["metadata"]["name"]
    for environment in (serving, migrating):
        assert normalized(environment["PSQL_HOST"], 5432) == normalized(f"{name}-rw, {name}-ro", 5432)
        assert environment["PGSSLMODE"] == "verify-full"
