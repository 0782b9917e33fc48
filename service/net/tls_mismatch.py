"""Recognizes that a client and a server disagree about TLS."""

import re

import requests

# nginx: "The plain HTTP request was sent to HTTPS port". Go: "Client sent an HTTP request to an HTTPS server."
_NEEDS_TLS = re.compile(r"HTTP request .*HTTPS")
_LACKS_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST")
_NO_REPLY = re.compile("RemoteDisconnected|BadStatusLine|reset by peer")


def says_that_tls_is_needed(reply: str) -> bool:
    """Return whether a reply to a plain request says that the port uses TLS."""
    return _NEEDS_TLS.search(reply) is not None


def shows_that_tls_is_missing(err: Exception) -> bool:
    """Return whether a handshake has failed because the port does not use TLS."""
    return isinstance(err, requests.exceptions.SSLError) and _LACKS_TLS.search(str(err)) is not None


def may_be_for_lack_of_tls(err: Exception) -> bool:
    """Return whether a server has ended a connection without a reply, as one that needs TLS does."""
    return _NO_REPLY.search(str(err)) is not None
