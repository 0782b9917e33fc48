"""The chain in Flask."""

from security.flask_security import FlaskSecurity, FlaskSecurityContext, FlaskSecurityError, Security

__all__ = ["FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"]
