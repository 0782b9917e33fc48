"""The security chain, with its Flask integration."""

from security import *  # noqa: F403  (a facade: the names are listed once, in security.__all__)
from security import __all__ as _names
from security.flask_security import FlaskSecurity, FlaskSecurityContext, FlaskSecurityError, Security

__all__ = [*_names, "FlaskSecurity", "FlaskSecurityContext", "FlaskSecurityError", "Security"]
