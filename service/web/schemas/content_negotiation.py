"""The choice between JSON and CSV."""

from flask import request
from flask_openapi3.models import MediaType, Schema
from flask_openapi3.models.data_type import DataType
from pydantic import ConfigDict

from service.errors import InvalidRequest
from service.web.schemas.headers import ATTACHMENT, Headers, with_headers

JSON, CSV = "application/json", "text/csv"
CSV_TYPE = f"{CSV}; charset=utf-8; header=present"


def wants_csv(format: str | None) -> bool:
    """Return whether the client prefers CSV.

    Args:
        format: `json` or `csv`; None means that the Accept header decides, with JSON as the default.
    """
    if format is not None:
        return format == "csv"
    return request.accept_mimetypes.best_match((JSON, CSV), JSON) == CSV


def json_or_csv(example: str, headers: Headers) -> ConfigDict:
    """Document that a reply may also be CSV. For `model_config`.

    Args:
        example: An example of the CSV.
        headers: The headers that the reply has in both formats.
    """
    content = {CSV: MediaType(schema=Schema(type=DataType.STRING), example=example)}
    return with_headers({**headers, **ATTACHMENT}, content=content)


def attachment(name: str) -> tuple[str, str]:
    """Return the header that suggests the name of a file.

    Args:
        name: The name, of ASCII characters without quotation marks.
    """
    return "Content-Disposition", f'attachment; filename="{name}"'


def refuse_explanation_as_csv(format: str | None, explain: bool) -> None:
    """Check that a request whose parameter selects CSV does not request an explanation.

    Args:
        format: The parameter; None if there is none.
        explain: Whether an explanation is requested.

    Raises:
        InvalidRequest: If both are requested.
    """
    if format == "csv" and explain:
        raise InvalidRequest([("explain", "not allowed with CSV: request JSON")])
