"""Plans the public keys that the plugin `jwt` accepts, as credentials of a consumer with the service's name.

Source: Kong's documentation of the JWT plugin, and recordings: a key id is unique over all consumers, POST of an
existing one is 409, and PUT by key id creates or replaces it.
"""

from functools import partial
from urllib.parse import quote

from service.gateway.admin_api import Entity
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, diff
from service.gateway.plan import Step
from service.gateway.registrator import RegistrationException


def plan_jwt_keys(dialect: Dialect) -> list[Step]:
    """Return the steps that add new keys, replace changed ones, and then remove those that are no longer declared.

    Raises:
        RegistrationException: If a key of the same id belongs to another owner.
    """
    path = f"/consumers/{dialect.definition.name}/jwt"
    found = {str(entity.get("key")): entity for entity in dialect.api.list(path)}
    steps = []
    for kid, (algorithm, pem) in dialect.definition.jwt_keys.items():
        declared = {"key": kid, "algorithm": algorithm, "rsa_public_key": pem, **dialect.tags}
        entity = found.pop(kid, None)
        if entity is None:
            steps.append(_plan_creation(dialect, path, declared))
            continue
        dialect.reject_foreign(f"jwt key {kid}", dialect.has_own_tag(entity), dialect.describe_owner(entity))
        if diff(entity, declared):
            # A PUT leaves no moment without the key, unlike a DELETE and a POST.
            steps.append(
                Step(
                    partial(dialect.write, "PUT", f"{path}/{quote(kid, safe='')}", declared),
                    partial(dialect.api.write, "PUT", f"{path}/{quote(kid, safe='')}", _restorable(entity)),
                    Change("change", f"jwt key {kid}"),
                )
            )
    for kid, entity in found.items():
        if dialect.has_own_tag(entity):
            steps.append(
                Step(
                    partial(dialect.api.write, "DELETE", f"{path}/{entity.get('id')}"),
                    partial(dialect.api.write, "PUT", f"{path}/{quote(kid, safe='')}", _restorable(entity)),
                    Change("remove", f"jwt key {kid}"),
                )
            )
    return steps


def _plan_creation(dialect: Dialect, path: str, declared: Entity) -> Step:
    kid = str(declared["key"])
    made: list[Entity] = []

    def create() -> None:
        status, entity = dialect.api.write("POST", path, declared)
        if status == 409:
            # Either an instance that was faster has created it, or another consumer has this key.
            if all(found.get("key") != kid for found in dialect.api.list(path)):
                raise RegistrationException(
                    f"{dialect.describe_gateway()}: another consumer has a jwt key with the id {kid}", status
                )
        elif status != 201 or entity is None:
            raise RegistrationException(f"POST {dialect.api.redacted_url}{path} answered {status}", status)
        else:
            made.append(entity)

    def undo() -> None:
        for entity in made:
            dialect.api.write("DELETE", f"{path}/{entity.get('id')}")

    return Step(create, undo, Change("create", f"jwt key {kid}"))


def _restorable(entity: Entity) -> Entity:
    return {name: value for name, value in entity.items() if name not in ("id", "created_at", "consumer") and value}
