"""Gateways before 1.0, such as the 0.14 that Microkubes ships: `/apis/`."""

from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from service.gateway.admin_api import Entity
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff, patch_for
from service.gateway.registrator import RegistrationException


class LegacyDialect(Dialect):
    """Gateways before 1.0: one entity under `/apis/`, which is both service and route."""

    def register(self, repairing: Collection[str] | None = None) -> Iterator[Change]:
        """See Reconciler."""
        wanted = self.definition
        if wanted.upstream is not None or wanted.plugins:
            raise RegistrationException(
                f"{self.shown()} is too old for SERVICE_DISCOVERY=upstream and for GATEWAY_PLUGINS; from 1.1 on it can"
            )
        what = f"api {wanted.name}"
        declared = {
            "uris": self.paths,
            "upstream_url": f"{wanted.protocol}://{wanted.host}:{wanted.port}",
            "strip_uri": True,
            "preserve_host": False,
        }
        found = self.api.get(f"/apis/{wanted.name}")
        if found is None:
            if not self.dry_run:
                status, answer = self.api.write("POST", "/apis/", {"name": wanted.name, **_written(declared)})
                if status == 409:  # another instance was faster, or a path is somebody else's
                    found = self.api.get(f"/apis/{wanted.name}")
                    if found is None:
                        raise RegistrationException(f"POST {self.api.shown_url}/apis/ answered 409: {answer}")
            if found is None:
                yield created(what, declared)
                return
        self.refuse_foreign(what, self._is_ours(found), f"upstream_url: {found.get('upstream_url')}")
        fields = diff(found, declared)
        if fields:
            if not self.dry_run:
                self.write("PATCH", f"/apis/{wanted.name}", _written(patch_for(found, declared)))
            yield Change("change", what, fields)

    def unregister(self) -> Iterator[Change]:
        """See Reconciler."""
        name = self.definition.name
        found = self.api.get(f"/apis/{name}")
        if found is not None:
            self.refuse_foreign(f"api {name}", self._is_ours(found), f"upstream_url: {found.get('upstream_url')}")
            if not self.dry_run:
                self.api.write("DELETE", f"/apis/{name}")
            yield Change("remove", f"api {name}")

    def add_target(self, target: str) -> Iterator[Change]:
        """See Reconciler; there are none."""
        yield from ()

    def remove_target(self, target: str) -> None:
        """See Reconciler; there are none."""

    def targets(self) -> Iterator[str]:
        """See Reconciler; there are none."""
        yield from ()

    def _is_ours(self, entity: Entity) -> bool:
        try:
            return urlsplit(str(entity.get("upstream_url"))).hostname == self.definition.host.lower()
        except ValueError:
            return False


def _written(fields: Entity) -> Entity:
    """Lists as this gateway takes them: one string with commas."""
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in fields.items()}
