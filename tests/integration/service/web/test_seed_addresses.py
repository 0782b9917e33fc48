"""The addresses in the document of the earlier Loaner work as written, except that its `https` means `http`."""

import pytest

from tests.support.seeds import addresses

pytestmark = pytest.mark.shared_ledger


def test_the_document_has_addresses():
    assert addresses() == ["/1/2021-02-15", "/api/v1", "/api/v1/loan/1/2021-02-15", "/status"]


@pytest.mark.parametrize("address", addresses())
def test_address_answers(client, bearer, address):
    reply = client.get(address, headers=bearer)
    assert reply.status_code == 200
    if "2021" in address:
        assert (reply.json["loan_id"], reply.json["date"]) == (1, "2021-02-15")


def test_status_is_protected(client):
    assert client.get("/status").status_code == 401
