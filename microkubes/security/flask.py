"""The security chain in Flask applications."""

from microkubes.own_packages import own_packages
from microkubes.security.keys import KeyStore

with own_packages():
    from security.frameworks.flask import FlaskSecurity as _FlaskSecurity
    from security.frameworks.flask import FlaskSecurityContext, FlaskSecurityError, Security

__all__ = ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"]


class FlaskSecurity(_FlaskSecurity):
    """The builder, with the key store of this package."""

    key_store_type = KeyStore
