"""The manifest of the database says what the service and its documents say."""

import re

import pytest
import yaml

from service.net.hosts import normalized
from service.settings import Settings
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "postgres"
GUIDE = (ROOT / "docs" / "guides" / "replicas.md").read_text()


@pytest.fixture
def cluster():
    return documents()["Cluster"]


def documents() -> dict[str, dict]:
    found = list(yaml.safe_load_all((FOLDER / "cloudnativepg.yaml").read_text()))
    return {document["kind"]: document for document in found}


def test_the_users_are_members_of_what_the_migrations_grant_to(cluster):
    granted = set(
        re.findall(r"'(loaner_\w+)'", (ROOT / "service/postgres/migrations/versions/0001_ledger.sql").read_text())
    )
    made = {statement.split()[2] for statement in cluster["spec"]["bootstrap"]["initdb"]["postInitSQL"]}
    roles = {role["name"]: role["inRoles"] for role in cluster["spec"]["managed"]["roles"]}
    assert granted == made == {group for groups in roles.values() for group in groups}
    assert roles == {"loaner": ["loaner_reader"], "loaner_posting": ["loaner_poster"]}


def test_a_commit_is_on_two_servers_before_it_is_answered(cluster):
    assert cluster["spec"]["instances"] >= 3  # or one that is away would stop all posting
    assert cluster["spec"]["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    assert "synchronous_commit" not in cluster["spec"]["postgresql"]["parameters"]


def test_there_are_connections_for_the_instances_that_the_guide_counts(cluster):
    instances, workers, each = map(int, re.search(r"(\d+) x (\d+) x (\d+) = \d+", GUIDE).groups())
    defaults = Settings.model_fields
    assert each == defaults["psql_pool_size"].default + defaults["psql_posting_pool_size"].default + 2
    assert instances * workers * each < int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_the_backup_is_of_this_cluster_and_archived_where_it_is(cluster):
    backup = documents()["ScheduledBackup"]["spec"]
    assert backup["cluster"]["name"] == cluster["metadata"]["name"]
    assert len(backup["schedule"].split()) == 6
    assert backup["pluginConfiguration"]["name"] == cluster["spec"]["plugins"][0]["name"]


def test_every_secret_is_created_in_the_guide_and_the_hosts_are_the_operators_services(cluster):
    spec = cluster["spec"]
    names = [
        spec["bootstrap"]["initdb"]["secret"]["name"],
        *(r["passwordSecret"]["name"] for r in spec["managed"]["roles"]),
    ]
    for name in names:
        assert f"secret generic {name} --type=kubernetes.io/basic-auth" in GUIDE


def test_the_chart_is_told_of_this_cluster_and_its_users(cluster):
    from tests.deploy.chart import environment_of, pods, rendered  # where there is no Helm engine, only this is skipped

    values = yaml.safe_load(re.search(r"```yaml\n(settings: .+?)```", GUIDE, re.DOTALL)[1])
    users = {role["passwordSecret"]["name"]: role["name"] for role in cluster["spec"]["managed"]["roles"]}
    owner = cluster["spec"]["bootstrap"]["initdb"]
    users[owner["secret"]["name"]] = owner["owner"]
    secrets = {name: {"password": f"of {user}"} for name, user in users.items()} | {"loaner": {"SECRET": "s"}}
    manifests = rendered(values)
    serving, migrating = (environment_of(pod, manifests, secrets) for pod in pods(manifests)[:2])
    assert serving["PSQL_PW"] == f"of {Settings.model_fields['psql_user'].default}"
    assert serving["PSQL_POSTING_PW"] == f"of {serving['PSQL_POSTING_USER']}"
    assert migrating["PSQL_ADMIN_PW"] == f"of {migrating['PSQL_ADMIN_USER']}"
    name = cluster["metadata"]["name"]
    for told in (serving, migrating):
        assert normalized(told["PSQL_HOST"], 5432) == normalized(f"{name}-rw, {name}-ro", 5432)
        assert told["PGSSLMODE"] == "verify-full"
