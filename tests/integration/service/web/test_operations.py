"""Status, probes, the documentation, and checks of keys at the start."""

import json

import pytest
from pydantic import SecretStr

from native import IMPLEMENTATION
from service import __version__
from service.errors import SettingsError
from service.tokens.key_setup import check_keys, open_keys, warn_about_permissions
from tests.conftest import sql
from tests.support.application import build_app
from tests.support.ports import free_port
from tests.support.settings import with_changes

pytestmark = pytest.mark.shared_ledger


def test_status_is_returned_to_a_client_with_a_token(client, bearer):
    expected = {"status": "running", "version": __version__, "core": IMPLEMENTATION, "database": "ok",
                "heard_s": None, "memcached": {}}  # fmt: skip
    assert client.get("/status", headers=bearer).json == expected


def test_status_reports_an_unavailable_database(served, bearer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    reply = client.get("/status", headers=bearer)
    assert reply.status_code == 200
    assert "127.0.0.1:1" in reply.json["database"]


def test_liveness_and_version_need_no_database(served):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    assert client.get("/healthcheck").json == {"status": "ok"}
    assert client.get("/version").json == {"version": __version__}


def test_it_is_ready_if_the_tables_can_be_read(client):
    assert client.get("/ready").status_code == 200


def test_readiness_reports_every_dependency(served):
    cache = f"127.0.0.1:{free_port()}"
    chosen = with_changes(served, memcached_servers=cache, cache_secret=SecretStr("s" * 16))
    client = build_app(chosen).test_client()
    expected = {"status": "ok", "database": "ok", "listener": "silent", "memcached": {cache: "down"}, "faults": []}
    assert (client.get("/ready").status_code, client.get("/ready").json) == (200, expected)


def test_it_is_not_ready_without_postgres(served):
    reply = build_app(with_changes(served, psql_port=1)).test_client().get("/ready")
    assert (reply.status_code, reply.content_type) == (503, "application/problem+json")
    assert "127.0.0.1" not in reply.text


def test_it_is_not_ready_with_older_tables_and_ready_with_newer_ones(client, admin, bearer):
    for change in ("UPDATE alembic_version SET version_num = '0001'", "DELETE FROM alembic_version"):
        sql(admin, change)
        assert client.get("/ready").status_code == 503
        assert "run migrate" in client.get("/status", headers=bearer).json["database"]
    sql(admin, "INSERT INTO alembic_version VALUES ('9999')")
    assert client.get("/ready").status_code == 200


def test_it_is_not_ready_without_tables(client, admin):
    sql(admin, "DROP TABLE alembic_version")
    assert client.get("/ready").status_code == 503


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_readiness_is_404_through_a_gateway(client, header):
    assert client.get("/ready", headers={header: "x"}).status_code == 404


def test_the_documentation_page_is_served_with_all_assets(client):
    page = client.get("/api/v1")
    assert page.status_code == 200
    assert page.content_type.startswith("text/html")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert asset in page.text
    assert "http" not in page.text.replace("http-equiv", "")  # the page loads nothing from other hosts
    for asset in ("js/swagger-ui-bundle.js", "css/swagger-ui.css", "images/swagger.svg"):
        with client.get(f"/api/v1/swagger/{asset}") as reply:
            assert reply.status_code == 200
            assert reply.data


def test_the_document_describes_parameters_and_replies(client):
    document = client.get("/api/v1/openapi.json").json
    balance = document["paths"]["/api/v1/loan/{loan_id}/{date}"]["get"]
    assert balance["security"] == [{"bearer": ["api:read"]}, {"client_credentials": ["api:read"]}]
    assert set(balance["responses"]) == {"200", "304", "400", "401", "403", "404", "412", "503"}
    parameters = {parameter["name"] for parameter in balance["parameters"]}
    assert parameters == {
        "loan_id",
        "date",
        "min_version",
        "as_of_version",
        "known_at",
        "explain",
        "parts",
        "provenance",
        "format",
    }
    assert set(document["paths"]["/token"]["post"]["requestBody"]["content"]) == {
        "application/x-www-form-urlencoded", "application/json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "model"), [("/api/v1/loan", "LoanBody"), ("/api/v1/loan/{loan_id}/events", "EventsBody")]
)
@pytest.mark.usefixtures("settings")  # it posts, so it needs its own ledger
def test_the_document_describes_posting(client, make_token, path, model):
    document = client.get("/api/v1/openapi.json").json
    route = document["paths"][path]["post"]
    assert route["security"] == [{"bearer": ["api:write"]}, {"client_credentials": ["api:write"]}]
    assert set(route["responses"]) == {"201", "400", "401", "403", "404", "409", "412", "413", "415", "422", "503"}
    headers = {parameter["name"]: parameter for parameter in route["parameters"] if parameter["in"] == "header"}
    assert set(headers) == {"Idempotency-Key", *(["If-Match"] if model == "EventsBody" else [])}
    assert all(not header["required"] and "default" not in header["schema"] for header in headers.values())
    body = route["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{model}"}
    schemas = document["components"]["schemas"]
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    reply = client.post(path.format(loan_id=1), json=schemas[model]["example"], headers=headers)
    assert reply.status_code == 201
    assert schemas["EventBody"]["required"] == ["event_type", "post_date", "amt"]
    assert not any("default" in member for member in schemas["EventBody"]["properties"].values())


def test_every_reference_of_the_document_is_resolvable(client):
    document = client.get("/api/v1/openapi.json").json
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    for part in text.split('"$ref": "')[1:]:
        assert part.split('"')[0].removeprefix("#/components/schemas/") in names


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/v1/"])
def test_a_browser_is_redirected_to_the_documentation(client, path):
    reply = client.get(path, follow_redirects=True)
    assert "swagger-ui-bundle.js" in reply.text


def test_documentation_links_keep_the_prefix_of_a_gateway(client):
    headers = {"X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "10.0.0.1"}
    for path in ("/", "/api", "/api/"):
        assert client.get(path, headers=headers).location == "/loaner/api/v1"
    assert '<base href="/loaner/api/v1/">' in client.get("/api/v1", headers=headers).text
    assert client.get("/api/v1/openapi.json", headers=headers).json["servers"] == [{"url": "/loaner"}]
    assert client.get("/api/v1/openapi.json").json["servers"] == [{"url": "/"}]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "not a readable directory"), ({}, "keys generate"), ({"a.pub": "x"}, "a.pub")]
)
def test_an_unusable_key_directory_stops_the_start(served, tmp_path, content, message):
    folder = tmp_path / "keys"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(SettingsError, match=f"KEYS_DIR.*{message}"):
        open_keys(served.tokens.replace(keys_dir=str(folder)))


def test_a_broken_signing_key_stops_the_start(served, keys_dir, tmp_path):
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    (tmp_path / "loaner").write_text("rubbish")
    (tmp_path / "loaner.pub").write_bytes((keys_dir / "loaner.pub").read_bytes())
    with pytest.raises(SettingsError, match=r"KEYS_DIR.*loaner: is not a private key"):
        check_keys(served.tokens.replace(keys_dir=str(tmp_path)))


def test_loose_permissions_of_keys_are_logged(served, keys_dir, tmp_path, caplog):
    for name in ("default.pub", "loaner", "loaner.pub"):
        (tmp_path / name).write_bytes((keys_dir / name).read_bytes())
    (tmp_path / "loaner").chmod(0o640)
    tmp_path.chmod(0o755)
    warn_about_permissions(served.tokens.replace(keys_dir=str(tmp_path)))
    assert f"KEYS_DIR: {tmp_path / 'loaner'} is a private key that other users can read (mode 0640)" in caplog.text
    assert f"KEYS_DIR: {tmp_path} has private keys and is readable by all users (mode 0755)" in caplog.text
