"""Requests with `as_of_version`."""

import pytest

PATHS = ("/1/2020-02-29", "/api/v1/loan/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history?to=2020-02-29")


def get(client, bearer, path, **query):
    return client.get(path + ("&" if "?" in path else "?") + "&".join(f"{k}={v}" for k, v in query.items()),
                      headers=bearer)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_a_version_never_changes(client, bearer, posting, path):
    before = {version: get(client, bearer, path, as_of_version=version).data for version in range(4)}
    now = client.get(path, headers=bearer)
    assert (now.data, now.json["version"]) == (before[3], 3)
    with posting, posting.cursor() as cursor:  # dated before all other events
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])")
    assert client.get(path, headers=bearer).json["version"] == 4
    for version, body in before.items():
        assert get(client, bearer, path, as_of_version=version).data == body


@pytest.mark.parametrize(
    ("version", "balance"), [(0, "1000.00"), (1, "1010.00"), (2, "899.50"), (3, "899.55"), ("03", "899.55")]
)
def test_each_event_makes_a_version(client, bearer, version, balance):
    reply = get(client, bearer, "/1/2020-12-31", as_of_version=version)
    assert (reply.json["balance"], reply.json["version"]) == (balance, int(version))


@pytest.mark.parametrize("path", PATHS)
def test_a_version_above_the_number_of_events_is_412(client, bearer, path):
    reply = get(client, bearer, path, as_of_version=4)
    assert (reply.status_code, reply.json["type"]) == (412, "urn:loaner:problem:version-not-reached")
    assert (reply.json["loan_id"], reply.json["version"]) == (1, 3)
    assert "it has not reached version 4" in reply.json["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("invalid", ["-1", "1.0", "x", "", "9223372036854775808"])
def test_an_invalid_version_is_400_and_named(client, bearer, path, invalid):
    reply = get(client, bearer, path, as_of_version=invalid)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "as_of_version")


@pytest.mark.parametrize("path", PATHS)
def test_as_of_version_and_min_version_cannot_be_combined(client, bearer, path):
    reply = get(client, bearer, path, as_of_version=2, min_version=0)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "as_of_version")


def test_an_unknown_loan_is_404(client, bearer):
    assert get(client, bearer, "/999/2020-12-31", as_of_version=0).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_the_reply_has_an_etag_and_no_as_of(client, bearer, path):
    reply = get(client, bearer, path, as_of_version=3)
    assert "As-Of" not in reply.headers
    tag = {"If-None-Match": reply.headers["ETag"]}
    assert get(client, {**bearer, **tag}, path, as_of_version=3).status_code == 304
    assert (
        client.get(path, headers={**bearer, **tag}).status_code == 304
    )  # the current version has the same representation
