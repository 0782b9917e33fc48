"""How the service is doing: for operators, probes and the curious."""

import logging
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.observability import metrics
from service.observability.multiprocess import CONTENT_TYPE, render_metrics
from service.tokens.issuer import TokenIssuer
from service.web.access import internal, public
from service.web.error_handlers import reply
from service.web.health import Health
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply

log = logging.getLogger(__name__)

_NOT_READY: dict[int | str, Any] = {503: {**problems(503)[503], "description": "not ready", "headers": {}}}
_METRICS = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}


class StatusReply(BaseModel):
    """What is running."""

    status: str = Field(json_schema_extra={"example": "running"})
    version: str = Field(json_schema_extra={"example": "1.0.0"})
    core: str = Field(description="compiled or interpreted", json_schema_extra={"example": "compiled"})
    database: str = Field(description="ok, or what is wrong", json_schema_extra={"example": "ok"})
    heard_s: float | None = Field(
        description="seconds since the primary was last heard of new events; null if it is not listened to",
        json_schema_extra={"example": 0.4},
    )
    memcached: dict[str, str] = Field(
        description="ok or down, for each server", json_schema_extra={"example": {"memcached:11211": "ok"}}
    )


class ReadyReply(BaseModel):
    """What requests depend on. memcached may be down, and the primary unheard: replies take longer then."""

    status: str = Field(json_schema_extra={"example": "ok"})
    database: str = Field(json_schema_extra={"example": "ok"})
    listener: str = Field(description="ok or silent", json_schema_extra={"example": "ok"})
    memcached: dict[str, str] = Field(
        description="ok or down, for each server", json_schema_extra={"example": {"memcached:11211": "ok"}}
    )


class VersionReply(BaseModel):
    """Which release is running."""

    version: str = Field(json_schema_extra={"example": "1.0.0"})


class AliveReply(BaseModel):
    """The process answers."""

    status: str = Field(json_schema_extra={"example": "ok"})


def operations_routes(health: Health, issuer: TokenIssuer) -> APIBlueprint:
    """The blueprint `operations`. issuer: whose key is told of at /metrics."""
    routes = APIBlueprint("operations", __name__, abp_tags=[Tag(name="operations", description="How it is doing")])

    @routes.get(
        "/status",
        summary="The service is running",
        responses={200: StatusReply},
    )
    def status() -> Response:
        """Versions and dependencies, for whoever has a token."""
        return json_reply(
            {
                "status": "running",
                "version": health.version,
                "core": health.core,
                "database": health.database(),
                "heard_s": health.heard_s(),
                "memcached": health.memcached(),
            }
        )

    @routes.get("/healthcheck", summary="The process answers", responses={200: AliveReply})
    @public
    def healthcheck() -> Response:
        """Liveness: it asks nothing of any other server."""
        return json_reply({"status": "ok"})

    @routes.get("/version", summary="Which release is running", responses={200: VersionReply})
    @public
    def version() -> Response:
        """The release."""
        return json_reply({"version": health.version})

    @routes.get("/ready", summary="Requests can be answered", responses={200: ReadyReply, **_NOT_READY})
    @internal
    def ready() -> Response:
        """Readiness, for probes beside the service; through a gateway it is 404."""
        if health.is_leaving():
            return reply(503, "not ready: this instance is leaving", "not-ready")
        database = health.database()
        if database != "ok":
            log.warning("not ready: %s", database)
            return reply(503, "not ready: the ledger cannot be read", "not-ready")
        return json_reply({"status": "ok", "database": database, "listener": health.listener(),
                           "memcached": health.memcached()})  # fmt: skip

    @routes.get("/metrics", summary="What is measured", responses={200: _METRICS})
    @internal
    def measured() -> Response:
        """Prometheus' text format, of all workers together; through a gateway it is 404."""
        metrics.build_info.labels(health.version, health.core).set(1)
        signing = issuer.keys.current()
        if signing is not None:
            metrics.signing_key_created.set(signing.created_at.timestamp())
        return Response(render_metrics(), content_type=CONTENT_TYPE)

    return routes
