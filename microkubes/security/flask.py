"""The security chain in Flask applications."""

from microkubes.security.keys import KeyStore
from security.frameworks.flask import FlaskSecurity as _FlaskSecurity
from security.frameworks.flask import FlaskSecurityContext, FlaskSecurityError, Security

__all__ = ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"]


class FlaskSecurity(_FlaskSecurity):
    """The builder, with the key store of this package."""

    key_store_type = KeyStore
