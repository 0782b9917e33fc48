"""Registration with an API gateway and with Consul.

The public names are those of the Python library of Microkubes.
"""

from service.gateway.kong import KongGatewayRegistrator
from service.gateway.registrator import RegistrationException, Registrator

__all__ = ["KongGatewayRegistrator", "RegistrationException", "Registrator"]
