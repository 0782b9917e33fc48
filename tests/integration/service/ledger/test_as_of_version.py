"""A loan as it was when it had so many events."""

import pytest

PATHS = ("/1/2020-02-29", "/api/v1/loan/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history?to=2020-02-29")


def ask(client, bearer, path, **query):
    return client.get(path + ("&" if "?" in path else "?") + "&".join(f"{k}={v}" for k, v in query.items()),
                      headers=bearer)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_what_it_was_it_stays(client, bearer, posting, path):
    before = {version: ask(client, bearer, path, as_of_version=version).data for version in range(4)}
    now = client.get(path, headers=bearer)
    assert (now.data, now.json["version"]) == (before[3], 3)
    with posting, posting.cursor() as cursor:  # before everything else by date
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])")
    assert client.get(path, headers=bearer).json["version"] == 4
    for version, said in before.items():
        assert ask(client, bearer, path, as_of_version=version).data == said


@pytest.mark.parametrize(
    ("version", "balance"), [(0, "1000.00"), (1, "1010.00"), (2, "899.50"), (3, "899.55"), ("03", "899.55")]
)
def test_each_event_made_one(client, bearer, version, balance):
    reply = ask(client, bearer, "/1/2020-12-31", as_of_version=version)
    assert (reply.json["balance"], reply.json["version"]) == (balance, int(version))


@pytest.mark.parametrize("path", PATHS)
def test_more_events_than_it_has_are_412(client, bearer, path):
    reply = ask(client, bearer, path, as_of_version=4)
    assert (reply.status_code, reply.json["type"]) == (412, "urn:loaner:problem:version-not-reached")
    assert (reply.json["loan_id"], reply.json["version"]) == (1, 3)
    assert "below the version 4" in reply.json["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("wrong", ["-1", "1.0", "x", "", "9223372036854775808"])
def test_a_version_that_is_none_is_400_and_named(client, bearer, path, wrong):
    reply = ask(client, bearer, path, as_of_version=wrong)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "as_of_version")


@pytest.mark.parametrize("path", PATHS)
def test_it_is_asked_for_instead_of_a_min_version(client, bearer, path):
    reply = ask(client, bearer, path, as_of_version=2, min_version=0)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "as_of_version")


def test_an_unknown_loan_is_404(client, bearer):
    assert ask(client, bearer, "/999/2020-12-31", as_of_version=0).status_code == 404


@pytest.mark.parametrize("path", PATHS)
def test_it_is_not_sent_again_and_has_no_time(client, bearer, path):
    reply = ask(client, bearer, path, as_of_version=3)
    assert "As-Of" not in reply.headers
    tag = {"If-None-Match": reply.headers["ETag"]}
    assert ask(client, {**bearer, **tag}, path, as_of_version=3).status_code == 304
    assert client.get(path, headers={**bearer, **tag}).status_code == 304  # the same is said of the loan as it is
