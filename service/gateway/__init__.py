"""Joining the platform: registration with an API gateway. Knows nothing of loans.

The names are those of Microkubes' own Python library.
"""

from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException, Registrator

__all__ = ["KongGatewayRegistrator", "RegistrationException", "Registrator"]
