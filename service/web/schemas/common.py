"""What the models of requests and replies share."""

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def omit_default(schema: dict[str, Any]) -> None:
    """For `json_schema_extra`: documents a member that may be left out, and is never null."""
    del schema["default"]


def only_if(parameter: str, description: str) -> Any:
    """A member that a reply has only if a parameter of the query asks for it."""
    return optional_member(f"with `{parameter}=true`: {description}")


def optional_member(description: str) -> Any:
    """A member that a reply may lack, and that is never null."""
    return Field(default=None, description=description, json_schema_extra=omit_default)


class Query(BaseModel):
    """The parameters of a query, and no others. The framework asks for the schema of each with every request: it is
    made once."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    @cache
    def model_json_schema(  # type: ignore[override]
        cls, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """The schema, which nobody may change."""
        return super().model_json_schema(*args, **kwargs)
