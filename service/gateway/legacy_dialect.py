"""The dialect of Kong before 1.0, such as the 0.14 that Microkubes ships."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from service.gateway.admin_api import Entity
from service.gateway.competing_routes import Competitor, find_competitors
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff, patch_for
from service.gateway.masking import without_userinfo
from service.gateway.plan import Step
from service.gateway.registrator import RegistrationException
from service.gateway.targets import Target

# What an API must not have, since it keeps calls away.
NEUTRAL: Entity = {"hosts": None, "methods": None}
PER_PAGE = 100


class LegacyDialect(Dialect):
    """Registers one entity under `/apis/`, which is both service and route. It has no upstreams, so no targets."""

    def plan(self, *, lenient: bool = False) -> Sequence[Step]:
        """Return the step that creates the API, or changes what differs; see `Reconciler.plan`."""
        definition = self.definition
        if definition.upstream is not None or definition.plugins:
            raise RegistrationException(
                f"{self.describe_gateway()} does not support SERVICE_DISCOVERY=upstream or GATEWAY_PLUGINS;"
                " use Kong 1.1 or later"
            )
        what, path = f"api {definition.name}", f"/apis/{definition.name}"
        declared = {
            "uris": self.paths,
            "upstream_url": f"{definition.protocol}://{definition.host}:{definition.port}",
            "strip_uri": True,
            "preserve_host": False,
        }
        found = self.api.get(path)
        if found is None:
            create = partial(self._create, path, declared)
            return [Step(create, partial(self.api.write, "DELETE", path), created(what, declared))]
        self.reject_foreign(what, self._is_own(found), _owner(found))
        unset = {name: value for name, value in NEUTRAL.items() if found.get(name)}
        fields = diff(found, {**declared, **unset})
        if not fields:
            return []
        patch = _to_legacy(patch_for(found, {**declared, **unset}))
        restored = _to_legacy({name: found.get(name) for name in fields})
        return [
            Step(
                partial(self.write, "PATCH", path, patch),
                partial(self.api.write, "PATCH", path, restored),
                Change("change", what, fields),
            )
        ]

    def plan_removal(self) -> Sequence[Step]:
        """Return the step that removes the API; see `Reconciler.plan_removal`."""
        name = self.definition.name
        found = self.read(f"/apis/{name}")
        if found is None:
            return []
        self.reject_foreign(f"api {name}", self._is_own(found), _owner(found))
        remove = partial(self.api.write, "DELETE", f"/apis/{name}")
        return [Step(remove, lambda: None, Change("remove", f"api {name}"))]

    def service(self) -> Entity:
        """Return the API entity; see `Reconciler.service`."""
        return self.read(f"/apis/{self.definition.name}") or {}

    def declaration(self) -> str | None:
        """Return None: this dialect has no tags."""
        return None

    def is_missing(self) -> bool:
        """Return whether the gateway lacks the API."""
        return not self.service()

    def kept(self) -> Sequence[str]:
        """Return nothing: what operators have set is not read."""
        return []

    def competitors(self) -> Sequence[Competitor]:
        """Return APIs and routes of other services that match calls for this one; see `Reconciler.competitors`."""
        own = self.read(f"/apis/{self.definition.name}")
        apis = (
            {**api, "paths": api.get("uris"), "service": {"name": api.get("name")}}
            for api in self.api.list(f"/apis?size={PER_PAGE}")
        )
        routes = ({**route, "created_at": 0} for route in self.api.list(f"/routes?size={PER_PAGE}"))
        return find_competitors(
            self.paths, own, [*apis, *routes], lambda found: found.get("service") or {}, tilde=False
        )

    def targets(self) -> Sequence[Target]:
        """Return nothing."""
        return []

    def add_target(self, address: str, instance: str) -> bool:
        """Do nothing."""
        return False

    def remove_target(self, target: Target) -> None:
        """Do nothing."""

    def _create(self, path: str, declared: Entity) -> None:
        status, answer = self.api.write("POST", "/apis/", {"name": self.definition.name, **_to_legacy(declared)})
        # 409: an instance that was faster has created it, or another API has one of the paths
        if status == 409 and self.api.get(path) is None:
            raise RegistrationException(f"POST {self.api.redacted_url}/apis/ answered 409: {answer}", status)

    def _is_own(self, entity: Entity) -> bool:
        try:
            return urlsplit(str(entity.get("upstream_url"))).hostname == self.definition.host.lower()
        except ValueError:
            return False


def _owner(entity: Entity) -> str:
    return without_userinfo(f"upstream_url: {entity.get('upstream_url')}")


def _to_legacy(fields: Entity) -> Entity:
    """Return fields in this gateway's notation, where a list is a comma-separated string."""
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in fields.items()}
