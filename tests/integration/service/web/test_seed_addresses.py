"""The addresses in the document of the earlier Loaner work as written, except that its `https` means `http`."""

import re

import pytest

from tests.support.seeds import document

# The document names the host {HOST}, localhost and, once, locallost.
ADDRESSES = sorted(set(re.findall(r"https://(?:\{HOST\}|localhost|locallost):5555(/[\w/<>-]+)", document("loaner"))))

pytestmark = pytest.mark.shared_ledger


def fill(address: str) -> str:
    return address.replace("<id>", "1").replace("<date>", "2021-02-15").replace("/loan_id/date", "/1/2021-02-15")


def test_the_document_has_addresses():
    assert ADDRESSES == [
        "/api/v1", "/api/v1/loan/1/2021-02-15", "/api/v1/loan/<id>/<date>", "/loan_id/date", "/status",
    ]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_answers(client, bearer, address):
    reply = client.get(fill(address), headers=bearer)
    assert reply.status_code == 200
    if "loan" in address:
        assert (reply.json["loan_id"], reply.json["date"]) == (1, "2021-02-15")


def test_status_is_protected(client):
    assert client.get("/status").status_code == 401
