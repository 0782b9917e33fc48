"""Requests that are made up from the service's own OpenAPI document, and what is wrong with the replies to them."""

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
# Statuses by which the ledger, and not the document, tells whether a request that is well-formed can be answered.
OF_THE_LEDGER = ("404", "409", "412", "422")
# What refuses a well-formed request for something that no schema can say: each with what that is.
BEYOND_A_SCHEMA = re.compile(
    r"\w+: expected either this or `\w+`, not both"  # two parameters
    r"|from: expected a date that is not after `to`.*"
    r"|cursor: expected .*"  # holds a check
    r"|(limit|cursor): expected none with CSV.*"
    r"|step: expected .*: ask for a shorter span, or a longer step"
    r"|.*: is there twice in this request"  # two members
    r"|.*: Input should be a valid integer"  # JSON Schema takes 1.0 for one
    r"|.*source_id: expected 1 to 200 printable characters"  # what makes up requests knows no categories of characters
)
LONG = 100
# A path that another route reads as well, for which its last piece is no date.
ALSO_READ_AS_A_DATE = "/api/v1/loan/{loan_id}/events"
# Sent by the framework or by what is around it, and told of with all replies or with none.
ALWAYS = {"content-type", "content-length", "date", "x-request-id", "allow", "vary"}


@dataclass
class Replies:
    """How requests were answered. counted: by (method, path of the document, status)."""

    counted: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def of(self, method: str, path: str) -> set[int]:
        """The statuses with which an operation answered."""
        return {status for asked, at, status in self.counted if (asked, at) == (method, path)}


def is_problem(content_type: str, members: Any, status: int) -> bool:
    """Whether this is a problem document."""
    return content_type == "application/problem+json" and members["status"] == status


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each (method, path, operation)."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def ask_everything(app: Flask, headers: Mapping[str, str], examples: int) -> Replies:
    """Ask everything that the document offers, well and badly, the same at each time.

    headers: of each request. examples: how many are made up of each route, beside those on the edges of what the
    document says and those in which several requests, each from earlier replies, follow each other.
    """
    document = app.test_client().get(DOCUMENT).json
    schema = schemathesis.openapi.from_dict(_stricter(document), config=_config(headers, examples))
    schema.app = app
    schema.hook("filter_failure")(_is_a_fault)
    replies = Replies()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            replies.faults.append(f"{event.label}: {event.info.title}: {event.value}")
        elif isinstance(event, events.ScenarioFinished):
            _note(replies, document, event)
    return replies


def _config(headers: Mapping[str, str], examples: int) -> SchemathesisConfig:
    made_up, conversations = (
        GenerationConfig(deterministic=True, database="none", max_examples=number, codec=None)
        for number in (examples, max(1, examples // 5))
    )
    checks = ChecksConfig(
        positive_data_acceptance=PositiveDataAcceptanceConfig(
            expected_statuses=["2xx", "304", "401", "403", "429", *OF_THE_LEDGER]
        ),
        ignored_auth=SimpleCheckConfig(enabled=False),  # it cannot ask in process; whole runs without a token do
    )
    phases = PhasesConfig(stateful=StatefulPhaseConfig(generation=conversations))
    project = ProjectConfig(
        headers=dict(headers), generation=made_up, phases=phases, checks=checks, continue_on_failure=True
    )
    return SchemathesisConfig(seed=1, projects=ProjectsConfig(default=project))


def _stricter(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document by which a reply may have no member that is not told of.

    Lists have no end in it that it would take minutes to reach.
    """
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for schema in copy["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
        for member in schema.get("properties", {}).values():
            if member.get("maxItems", 0) > LONG:
                del member["maxItems"]
    return copy


def _is_a_fault(_: Any, failure: Any, case: Any, response: Any) -> bool:
    kind = type(failure).__name__
    if kind == "RejectedPositiveData":
        if case.operation.path == "/token":
            return response.status_code != 400  # nobody guesses a client
        said = [f"{error['field']}: {error['detail']}" for error in response.json().get("errors", [])]
        return not said or not all(BEYOND_A_SCHEMA.fullmatch(each) for each in said)
    if kind in ("UnsupportedMethodResponse", "AllowHeaderMismatch"):
        return case.operation.path != ALSO_READ_AS_A_DATE
    return True


def _note(replies: Replies, document: Mapping[str, Any], event: events.ScenarioFinished) -> None:
    for case_id, exchange in event.recorder.interactions.items():
        case, response = event.recorder.cases[case_id].value, exchange.response
        method, path, status = case.method, case.operation.path, response.status_code
        replies.counted[method, path, status] += 1
        told = document["paths"][path].get(method.lower(), {"responses": {}})["responses"].get(str(status), {})
        name = f"{method} {path}: {status}"
        replies.faults += [f"{name}: {fault}" for fault in _faults(response, told)]
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                asked, failure = check.failure_info.code_sample, check.failure_info.failure
                response = event.recorder.interactions[case_id].response
                replies.faults.append(
                    f"{failure.operation}: {check.name}: {failure.title}: {failure.message}\n"
                    f"{asked:.1000}\n{response.status_code} {response.content!r:.500}"
                )


def _faults(response: Any, told: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a reply that is told of so."""
    if "x-request-id" not in response.headers:
        yield "has no name"
    if told:
        unknown = set(response.headers) - {name.lower() for name in told.get("headers", ())} - ALWAYS
        yield from (f"has {name}, of which the document tells nothing" for name in sorted(unknown))
    elif response.status_code >= 400 and not is_problem(
        response.headers["content-type"][0], response.json(), response.status_code
    ):  # such as 405: of each path, so told of with none
        yield f"is no problem document: {response.content!r:.200}"
