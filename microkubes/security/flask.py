"""The security chain in Flask applications."""

from security.frameworks.flask import FlaskSecurity, FlaskSecurityContext, FlaskSecurityError, Security

__all__ = ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"]
