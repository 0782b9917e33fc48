"""Registration of services with the API gateway."""

from microkubes.own_packages import own_packages

with own_packages():
    from service.gateway import KongGatewayRegistrator, RegistrationException, Registrator

__all__ = ["KongGatewayRegistrator", "RegistrationException", "Registrator"]
