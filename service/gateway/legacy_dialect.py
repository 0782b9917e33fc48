"""The dialect of Kong before 1.0, such as the 0.14 that Microkubes ships."""

from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from service.gateway.admin_api import Entity
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff, patch_for
from service.gateway.registrator import RegistrationException


class LegacyDialect(Dialect):
    """Registers one entity under `/apis/`, which is both service and route."""

    def register(self, own_declarations: Collection[str] | None = None) -> Iterator[Change]:
        """Create the API, or change what differs; see `Reconciler.register`."""
        definition = self.definition
        if definition.upstream is not None or definition.plugins:
            raise RegistrationException(
                f"{self.describe_gateway()} does not support SERVICE_DISCOVERY=upstream or GATEWAY_PLUGINS;"
                " use Kong 1.1 or later"
            )
        what = f"api {definition.name}"
        declared = {
            "uris": self.paths,
            "upstream_url": f"{definition.protocol}://{definition.host}:{definition.port}",
            "strip_uri": True,
            "preserve_host": False,
        }
        found = self.api.get(f"/apis/{definition.name}")
        if found is None:
            if not self.dry_run:
                status, answer = self.api.write("POST", "/apis/", {"name": definition.name, **_to_legacy(declared)})
                if status == 409:  # another instance created it first, or another API has one of the paths
                    found = self.api.get(f"/apis/{definition.name}")
                    if found is None:
                        raise RegistrationException(f"POST {self.api.redacted_url}/apis/ answered 409: {answer}")
            if found is None:
                yield created(what, declared)
                return
        self.reject_foreign(what, self._is_own(found), f"upstream_url: {found.get('upstream_url')}")
        fields = diff(found, declared)
        if fields:
            if not self.dry_run:
                self.write("PATCH", f"/apis/{definition.name}", _to_legacy(patch_for(found, declared)))
            yield Change("change", what, fields)

    def service(self) -> Entity:
        """Return the API entity; see `Reconciler.service`."""
        return self.api.get(f"/apis/{self.definition.name}") or {}

    def unregister(self) -> Iterator[Change]:
        """Remove the API; see `Reconciler.unregister`."""
        name = self.definition.name
        found = self.api.get(f"/apis/{name}")
        if found is not None:
            self.reject_foreign(f"api {name}", self._is_own(found), f"upstream_url: {found.get('upstream_url')}")
            if not self.dry_run:
                self.api.write("DELETE", f"/apis/{name}")
            yield Change("remove", f"api {name}")

    def add_target(self, target: str) -> Iterator[Change]:
        """Do nothing: this dialect has no upstreams."""
        yield from ()

    def remove_target(self, target: str) -> None:
        """Do nothing: this dialect has no upstreams."""

    def targets(self) -> Iterator[str]:
        """Yield nothing: this dialect has no upstreams."""
        yield from ()

    def _is_own(self, entity: Entity) -> bool:
        try:
            return urlsplit(str(entity.get("upstream_url"))).hostname == self.definition.host.lower()
        except ValueError:
            return False


def _to_legacy(fields: Entity) -> Entity:
    """Return fields in this gateway's notation, where a list is a comma-separated string."""
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in fields.items()}
