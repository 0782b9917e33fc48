"""What the routes that post have in common."""

from collections.abc import Callable

from flask import Response, request
from pydantic import BaseModel

from security.context import SecurityContext
from service.errors import InvalidRequest, VersionChanged
from service.ledger.idempotency import RequestFingerprint, fingerprint
from service.ledger.posting import PostResult
from service.web.schemas.posting import ANY_VERSION, ExpectingBody, VersionHeaders
from service.web.serializers import to_json

REPLAYED_HEADER = "Idempotent-Replayed"
_NO_VERSION = -1  # the version of no loan


class Caller:
    """The caller of the present request.

    Args:
        context: Has the identity of the caller.
    """

    def __init__(self, context: SecurityContext) -> None:
        self._context = context

    @property
    def name(self) -> str:
        """The identity of the caller."""
        auth = self._context.get_auth()
        assert auth is not None  # the chain rejects requests without an identity
        return auth.user_id

    def fingerprint_of(self, key: str, body: BaseModel) -> RequestFingerprint | None:
        """Return the fingerprint of the request; None without an Idempotency-Key."""
        if not key:
            return None
        members = body.model_dump(mode="json", exclude_defaults=True)
        return fingerprint(self.name, key, {"path": request.path, **members})


def created(posted: PostResult, **headers: str) -> Response:
    """Build the reply to a posting."""
    body, ledger_headers = to_json(posted.body, posted.as_of, posted.body["version"])
    response = Response(body, 201, ledger_headers)
    response.headers.update({**headers, REPLAYED_HEADER: "true"} if posted.replayed else headers)
    return response


def expected_versions(header: VersionHeaders, body: ExpectingBody) -> tuple[int, ...] | None:
    """Return the versions that the loan may have; None means any.

    Raises:
        InvalidRequest: If the header and the body contradict each other.
    """
    in_header = header.if_match.versions if header.if_match is not None else None
    if body.expected_version == ANY_VERSION:
        return in_header
    if in_header is not None and body.expected_version not in in_header:
        raise InvalidRequest([("If-Match", "contradicts `expected_version`")])
    return (body.expected_version,)


def post_to_expected_version(versions: tuple[int, ...] | None, post: Callable[..., PostResult]) -> PostResult:
    """Post if the loan has one of these versions. Each attempt checks one of them under the loan's lock.

    Raises:
        VersionChanged: If it has none of them.
    """
    if versions is None:
        return post(expected_version=None)
    expected = versions[-1] if versions else _NO_VERSION
    while True:
        try:
            return post(expected_version=expected)
        except VersionChanged as err:
            if err.version not in versions:
                raise VersionChanged(err.loan_id, err.version, versions) from err
            expected = err.version
