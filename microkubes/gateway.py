"""Registration of services with the API gateway."""

from service.gateway import KongGatewayRegistrator, RegistrationException, Registrator

__all__ = ["KongGatewayRegistrator", "RegistrationException", "Registrator"]
