"""Parts of the models of requests and replies."""

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def omit_default(schema: dict[str, Any]) -> None:
    """Document that a member is optional and never null. For `json_schema_extra`."""
    del schema["default"]


def only_if(parameter: str, description: str) -> Any:
    """Declare a member of a reply that is present only if a boolean query parameter is true."""
    return optional_member(f"{description} Only with `{parameter}=true`.")


def optional_member(description: str) -> Any:
    """Declare a member of a reply that may be absent and is never null."""
    return Field(default=None, description=description, json_schema_extra=omit_default)


class Query(BaseModel):
    """Query parameters. Unknown ones are rejected."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    @cache
    def model_json_schema(  # type: ignore[override]
        cls, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the schema, cached because the framework reads it for every request. Do not modify it."""
        return super().model_json_schema(*args, **kwargs)
