"""Whether a reply is to be JSON or CSV."""

from flask import request
from flask_openapi3.models import MediaType, Schema
from flask_openapi3.models.data_type import DataType
from pydantic import ConfigDict

from service.web.schemas.headers import ATTACHMENT, Headers, with_headers

JSON, CSV = "application/json", "text/csv"
CSV_TYPE = f"{CSV}; charset=utf-8; header=present"


def wants_csv(chosen: str | None) -> bool:
    """chosen: `json` or `csv`; None leaves it to the request's Accept, which prefers neither where it names none."""
    if chosen is not None:
        return chosen == "csv"
    return request.accept_mimetypes.best_match((JSON, CSV), JSON) == CSV


def json_or_csv(example: str, headers: Headers) -> ConfigDict:
    """For a reply's `model_config`: what documents that it may also be CSV. headers: those that it has either way."""
    content = {CSV: MediaType(schema=Schema(type=DataType.STRING), example=example)}
    return with_headers({**headers, **ATTACHMENT}, content=content)
