"""Routes: status, probes and metrics."""

import logging
from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.gateway.identity import CHALLENGE_HEADER, PROOF_HEADER, Identity
from service.observability import metrics
from service.observability.multiprocess import CONTENT_TYPE, render_metrics
from service.tokens.issuer import TokenIssuer
from service.web.access import internal, public
from service.web.error_handlers import problem_response
from service.web.health import Health
from service.web.schemas.problem import problems
from service.web.schemas.replies import json_reply

log = logging.getLogger(__name__)

_NOT_READY: dict[int | str, Any] = {
    503: {**problems(503)[503], "description": "The instance is not ready.", "headers": {}}
}
_METRICS = {
    "description": "Metrics in Prometheus' text format.",
    "content": {"text/plain": {"schema": {"type": "string"}}},
}


class StatusReply(BaseModel):
    """The running release, and the state of its dependencies."""

    status: str = Field(json_schema_extra={"example": "running"})
    version: str = Field(json_schema_extra={"example": "1.0.0"})
    core: str = Field(
        description="The build of the core: compiled or interpreted.", json_schema_extra={"example": "compiled"}
    )
    database: str = Field(
        description="ok, or the reason for which the database cannot be used.", json_schema_extra={"example": "ok"}
    )
    heard_s: float | None = Field(
        description="The seconds since the primary was last heard; null if it never was.",
        json_schema_extra={"example": 0.4},
    )
    memcached: dict[str, str] = Field(
        description="ok or down, for each server.", json_schema_extra={"example": {"memcached:11211": "ok"}}
    )


class ReadyReply(BaseModel):
    """The state of the dependencies.

    Without memcached or while the primary is not heard, replies take longer, but the service is ready.
    """

    status: str = Field(json_schema_extra={"example": "ok"})
    database: str = Field(json_schema_extra={"example": "ok"})
    listener: str = Field(
        description="ok, or silent while the primary is not heard.", json_schema_extra={"example": "ok"}
    )
    memcached: dict[str, str] = Field(
        description="ok or down, for each server.", json_schema_extra={"example": {"memcached:11211": "ok"}}
    )
    faults: list[str] = Field(
        description="What an operator has to end although the service can answer, such as a former primary that runs.",
        json_schema_extra={"example": []},
    )


class VersionReply(BaseModel):
    """The running release."""

    version: str = Field(json_schema_extra={"example": "1.0.0"})


class AliveReply(BaseModel):
    """The process is alive."""

    status: str = Field(json_schema_extra={"example": "ok"})


def build_operations_routes(health: Health, issuer: TokenIssuer, identity: Identity) -> APIBlueprint:
    """Build the blueprint `operations`.

    Args:
        health: Reports on what the service depends on.
        issuer: Has the signing key whose age is a metric.
        identity: Proves the identity of this instance.
    """
    routes = APIBlueprint(
        "operations", __name__, abp_tags=[Tag(name="operations", description="Status, probes and metrics")]
    )

    @routes.get(
        "/status",
        summary="Get the status",
        responses={200: StatusReply},
    )
    def status() -> Response:
        """Return the running release and the state of its dependencies."""
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

    @routes.get("/healthcheck", summary="Check liveness", responses={200: AliveReply})
    @public
    def healthcheck() -> Response:
        """Reply if the process is alive. No other server is contacted.

        With the header `Loaner-Challenge`, the reply proves in `Loaner-Proof` that an instance of this service made it.
        """
        reply = json_reply({"status": "ok"})
        challenge = request.headers.get(CHALLENGE_HEADER)
        proof = identity.prove(challenge) if challenge else None
        if proof is not None:
            reply.headers[PROOF_HEADER] = proof
            reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.get("/version", summary="Get the version", responses={200: VersionReply})
    @public
    def version() -> Response:
        """Return the running release."""
        return json_reply({"version": health.version})

    @routes.get("/ready", summary="Check readiness", responses={200: ReadyReply, **_NOT_READY})
    @internal
    def ready() -> Response:
        """Reply 200 if the service can answer requests, else 503. Requests through a proxy get 404."""
        if health.is_draining():
            return problem_response(503, "not ready: this instance is draining", "not-ready")
        database, faults = health.database(), health.faults()
        if database != "ok":
            log.warning("not ready: %s", database)
            reasons = "; ".join(("the ledger cannot be read", *faults))
            return problem_response(503, f"not ready: {reasons}", "not-ready")
        if not health.can_cache():
            return problem_response(503, f"not ready: {'; '.join(faults)}", "not-ready")
        return json_reply({"status": "ok", "database": database, "listener": health.listener(),
                           "memcached": health.memcached(), "faults": faults})  # fmt: skip

    @routes.get("/metrics", summary="Get metrics", responses={200: _METRICS})
    @internal
    def measured() -> Response:
        """Return metrics, aggregated over all workers, in Prometheus' text format. Requests through a proxy get 404."""
        metrics.build_info.labels(health.version, health.core).set(1)
        signing = issuer.keys.current()
        if signing is not None:
            metrics.signing_key_created.set(signing.created_at.timestamp())
        return Response(render_metrics(), content_type=CONTENT_TYPE)

    return routes
