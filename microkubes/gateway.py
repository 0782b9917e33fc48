"""Registration with the gateway."""

from service.gateway import KongGatewayRegistrator, RegistrationException, Registrator

__all__ = ["KongGatewayRegistrator", "RegistrationException", "Registrator"]
