"""Which calls of the application's parts are spans, and what these state. Needs the extra `otel`."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, Literal

from opentelemetry.trace import SpanKind

from service.observability.untraced import Kind

Attributes = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """How a method is recorded.

    Attributes:
        name: Returns the name of the span for its attributes.
        attributes: Returns what the span states, for the arguments of the method.
        kind: Whether the method calls another server.
        form: `call`: the span lasts as long as the call. `stream`: as long as its iterator. `hit`: the call is recorded
            only if it returns something.
    """

    name: Callable[[Attributes], str]
    attributes: Callable[..., Attributes]
    kind: SpanKind
    form: Literal["call", "stream", "hit"] = "call"


def _lookup(method: str, form: Literal["call", "hit"] = "call") -> Call:
    def attributes(*arguments: Any, **_: Any) -> Attributes:
        loans = arguments[0] if arguments else None
        size = {"loaner.loans": len(loans)} if isinstance(loans, Sequence) else {}
        return {"loaner.lookup": method, **size}

    return Call(lambda _: "lookup", attributes, SpanKind.INTERNAL, form)


def _cache(operation: str) -> Call:
    def attributes(_cluster: str, values: Any, **_: Any) -> Attributes:
        size = {"db.operation.batch.size": len(values)} if isinstance(values, Sized) and len(values) > 1 else {}
        return {"db.system.name": "memcached", "db.operation.name": operation, **size}

    return Call(lambda _: f"memcached {operation}", attributes, SpanKind.CLIENT)


def _query(query: Any, *_: Any, **__: Any) -> Attributes:
    """Return what a span of a query states: for a prepared one, which one it is."""
    label = getattr(query, "label", None)
    operation = "EXECUTE" if label is not None else query.split(None, 1)[0].upper()
    summary = {} if label is None else {"db.query.summary": label}
    return {"db.system.name": "postgresql", "db.operation.name": operation, **summary}


def _query_name(attributes: Attributes) -> str:
    return f"postgresql {attributes.get('db.query.summary', attributes['db.operation.name'])}"


def _posting(method: str) -> Call:
    return Call(lambda _: f"posting {method}", lambda *_, **__: {}, SpanKind.INTERNAL)


CALLS: dict[Kind, dict[str, Call]] = {
    "lookup": {
        "get_cached": _lookup("get_cached", "hit"),
        **{
            method: _lookup(method)
            for method in (
                "get", "get_many", "get_consistent", "get_at_version", "get_known_at", "get_many_known_at",
            )
        },
    },
    "cache": {"get_many": _cache("get"), "put_many": _cache("set")},
    "database": {
        "row": Call(_query_name, _query, SpanKind.CLIENT),
        "rows": Call(_query_name, _query, SpanKind.CLIENT),
        "stream": Call(_query_name, _query, SpanKind.CLIENT, "stream"),
    },
    "posting": {method: _posting(method) for method in ("post_events", "create_loan")},
    "agreements": {method: _posting(method) for method in ("post_terms", "post_schedule")},
}  # fmt: skip
