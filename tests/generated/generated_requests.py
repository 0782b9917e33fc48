"""Requests generated from the OpenAPI document, and a check of the replies to them."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from flask import Flask
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PhasesConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
    SimpleCheckConfig,
    StatefulPhaseConfig,
)
from schemathesis.engine import events, from_schema

DOCUMENT = "/api/v1/openapi.json"
# Statuses of well-formed requests that depend on the state of the ledger.
LEDGER_STATUSES = ("404", "409", "412", "422")
# Reasons for rejecting a request that no schema can express.
BEYOND_SCHEMA = re.compile(
    r"\w+: cannot be combined with `\w+`"  # two parameters
    r"|from: expected a date that is not after `to`.*"
    r"|good_through: expected a date from .*"
    r"|(recorded_from|id_from|start_from): expected a (time|value) that is not .*"
    r"|(.*\.)?(amt|initial_amt): expected (at most [0-4] decimals|an amount of at most [0-9.]+) \([A-Z]{3}\)"
    r"|If-Match: (contradicts `expected_version`|expected .*)"  # the generator combines a pattern with a length badly
    r"|provenance: expected only with `explain=true`"
    r"|cursor: (expected .*|past the last page)"  # contains a checksum
    r"|(limit|cursor|explain): not allowed with CSV.*"
    r"|step: expected .*: use a shorter date range or a longer step"
    r"|.*: duplicate value"  # two members
    r"|.*: expected a whole number"  # JSON Schema accepts 1.0
    r"|.*amt: expected (at most \d decimals|an amount of at most [0-9.]+) \([A-Z]{3}\)"  # depends on the currency
    r"|.*memo: expected .*"
    r"|first_due_date: expected .*"
    r"|installments\.\d+\.due_date: expected a date that is not before that of the previous installment"
    r"|.*source_id: expected 1 to 200 printable characters"  # the generator does not know categories of characters
)
MAX_ITEMS = 100  # a longer limit of a list would take minutes to reach
# Headers from the framework or the middleware, which the document omits.
UNDOCUMENTED_HEADERS = {"content-type", "content-length", "date", "x-request-id", "allow", "vary"}


@dataclass
class Replies:
    """The replies to generated requests.

    Attributes:
        counted: The number of replies by method, path of the document and status.
        faults: Descriptions of replies that contradict the document.
    """

    counted: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def statuses(self, method: str, path: str) -> set[int]:
        """Return the statuses of an operation's replies."""
        return {status for *operation, status in self.counted if operation == [method, path]}


def is_problem(content_type: str, members: Any, status: int) -> bool:
    """Return whether a reply is a problem document that describes errors in the service's words.

    Those begin with a small letter, unlike the messages of the library that validates.
    """
    is_own = not any(error["detail"][:1].isupper() for error in members.get("errors", ()))
    return content_type == "application/problem+json" and members["status"] == status and is_own


def list_operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Generate the method, path and members of each operation."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def send_generated_requests(app: Flask, headers: Mapping[str, str], examples: int) -> Replies:
    """Send valid and malformed requests to every operation. Each run sends the same requests.

    Args:
        app: The application.
        headers: The headers of each request.
        examples: The number of generated requests per route. Requests at the limits of the schemas, and sequences of
            requests that use earlier replies, come on top.
    """
    document = app.test_client().get(DOCUMENT).json
    schema = schemathesis.openapi.from_dict(_stricter(document), config=_build_config(headers, examples))
    schema.app = app
    schema.hook("filter_failure")(_is_fault)
    replies = Replies()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            replies.faults.append(f"{event.label}: {event.info.title}: {event.value}")
        elif isinstance(event, events.ScenarioFinished):
            _record(replies, document, event)
    return replies


def _build_config(headers: Mapping[str, str], examples: int) -> SchemathesisConfig:
    single_requests, sequences = (
        GenerationConfig(deterministic=True, database="none", max_examples=number, codec=None)
        for number in (examples, max(1, examples // 5))
    )
    checks = ChecksConfig(
        positive_data_acceptance=PositiveDataAcceptanceConfig(
            expected_statuses=["2xx", "304", "401", "403", "429", *LEDGER_STATUSES]
        ),
        # It does not support requests in process; a separate run sends no token.
        ignored_auth=SimpleCheckConfig(enabled=False),
    )
    phases = PhasesConfig(stateful=StatefulPhaseConfig(generation=sequences))
    project = ProjectConfig(
        headers=dict(headers), generation=single_requests, phases=phases, checks=checks, continue_on_failure=True
    )
    return SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))


def _stricter(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document without undocumented members of replies, and without long limits of lists."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for schema in copy["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
        for member in schema.get("properties", {}).values():
            if member.get("maxItems", 0) > MAX_ITEMS:
                del member["maxItems"]
    return copy


def _is_fault(_: Any, failure: Any, case: Any, response: Any) -> bool:
    kind = type(failure).__name__
    if kind == "RejectedPositiveData":
        if case.operation.path == "/token":
            return response.status_code != 400  # generated credentials are always wrong
        reasons = [f"{error['field']}: {error['detail']}" for error in response.json().get("errors", [])]
        return not reasons or not all(BEYOND_SCHEMA.fullmatch(each) for each in reasons)
    return True


def _record(replies: Replies, document: Mapping[str, Any], event: events.ScenarioFinished) -> None:
    for case_id, exchange in event.recorder.interactions.items():
        case, response = event.recorder.cases[case_id].value, exchange.response
        method, path, status = case.method, case.operation.path, response.status_code
        replies.counted[method, path, status] += 1
        documented = document["paths"][path].get(method.lower(), {"responses": {}})["responses"].get(str(status), {})
        name = f"{method} {path}: {status}"
        replies.faults += [f"{name}: {fault}" for fault in _find_faults(response, documented)]
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                request, failure = check.failure_info.code_sample, check.failure_info.failure
                response = event.recorder.interactions[case_id].response
                replies.faults.append(
                    f"{failure.operation}: {check.name}: {failure.title}: {failure.message}\n"
                    f"{request:.1000}\n{response.status_code} {response.content!r:.500}"
                )


def _find_faults(response: Any, documented: Mapping[str, Any]) -> Iterator[str]:
    """Describe the differences between a reply and its documentation."""
    if "x-request-id" not in response.headers:
        yield "has no request id"
    if documented:
        unknown = (
            set(response.headers) - {name.lower() for name in documented.get("headers", ())} - UNDOCUMENTED_HEADERS
        )
        yield from (f"has the undocumented header {name}" for name in sorted(unknown))
    elif response.status_code >= 400 and not is_problem(
        response.headers["content-type"][0], response.json(), response.status_code
    ):  # such as 405, which is possible for every path and not documented
        yield f"is not a problem document: {response.content!r:.200}"
