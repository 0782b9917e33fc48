"""The header that the declared plugins write the id of a request to."""

import pytest

from service.gateway.correlation import correlation_header
from service.gateway.definition import Plugin


def correlation(**fields) -> Plugin:
    return Plugin("correlation-id", fields)


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [
        (None, None),
        ([], None),
        ([Plugin("rate-limiting", {"config": {"header_name": "X-Limit"}})], None),
        ([correlation(enabled=True, config={"header_name": "X-Trail"})], "X-Trail"),
        ([correlation(config={})], "Kong-Request-ID"),
        ([correlation(config=None)], "Kong-Request-ID"),
        ([correlation(config={"header_name": 1})], "Kong-Request-ID"),
        ([correlation(enabled=False, config={"header_name": "X-Trail"})], None),
    ],
)
def test_the_header_is_found(plugins, expected):
    assert correlation_header(plugins) == expected
