"""The OpenAPI 3.1 document, from the operations and the models that they validate with.

Written here rather than with spectree: its Starlette plugin validates whole bodies on
the event loop and passes over the body of a DELETE, while here each item of a batch is
validated on its own, in the same thread hop as the work.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import DictSchema

from llamaindex_reaktly.errors import (
    Conflict,
    Forbidden,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    QuotaExceeded,
    RateLimited,
    ReaktlyError,
    StorageFull,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownKnowledgeBase,
    UnsupportedMediaType,
)
from reaktly_api import filter_schema
from reaktly_api.access import CHAT, READ
from reaktly_api.dialects import DIALECTS, dialect_of, error_headers
from reaktly_api.operations import EVENT_STREAM, JSON_TYPE, Operation
from reaktly_api.rate_limits import UNLIMITED

REFERENCE = "#/components/schemas/{model}"
FILTER = REFERENCE.format(model=filter_schema.NAME)
Json = dict[str, Any]

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_HEADERS = {
    "x-request-id": ("RequestId", "string", "The request's name in the server's log."),
    "ratelimit-limit": ("RateLimit", "integer", "Requests that the key may make in a window."),
    "ratelimit-remaining": ("RateLimitRemaining", "integer", "Requests left in this window."),
    "ratelimit-reset": ("RateLimitReset", "integer", "Seconds until the next window."),
    "retry-after": ("RetryAfter", "integer", "Seconds to wait before trying again."),
    "www-authenticate": ("WwwAuthenticate", "string", "How to authenticate: `Bearer`."),
}
# One of a stream: https://html.spec.whatwg.org/multipage/server-sent-events.html
_EVENT: Json = {
    "type": "object",
    "required": ["data"],
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
}
_ALLOWANCE = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
# One of its kind for each status, rendered by each dialect.
_ERRORS: Mapping[int, ReaktlyError] = {
    error.error_code.status: error
    for error in (
        InvalidRequest("body: is not valid JSON", field="body"),
        Unauthenticated("the API key is not valid"),
        QuotaExceeded("the knowledge base holds as many documents as it may"),
        Forbidden("this API key lacks the scope iq:import"),
        UnknownKnowledgeBase("kb_xyz789"),
        MethodNotAllowed("PUT is not served here", allowed=("GET", "HEAD", "OPTIONS")),
        Conflict("2 documents share this job id"),
        TooLarge("the body is larger than 33554432 bytes"),
        UnsupportedMediaType("send application/json"),
        RateLimited("this API key is limited to 60 of these requests", retry_after=12),
        InternalError("something went wrong; the log has it under x-request-id"),
        Unavailable("the registry is not there"),
        StorageFull("the disk is full"),
    )
}


class _Schemas(GenerateJsonSchema):
    """Without the titles that only repeat the field names, and with what names must be."""

    def dict_schema(self, schema: DictSchema) -> Json:
        described = super().dict_schema(schema)
        # Without this, pydantic says what fitting names hold, and leaves all others free.
        if "patternProperties" in described and "keys_schema" in schema:
            ((_, described["additionalProperties"]),) = described.pop("patternProperties").items()
            described["propertyNames"] = self.generate_inner(schema["keys_schema"])
        return described

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False


def build(operations: Sequence[Operation], *, version: str) -> Json:
    """The document as a JSON-able dict."""
    models = _models(operations)
    paths: Json = {}
    for operation in operations:
        if operation.status == HTTPStatus.FOUND:
            continue
        path = _PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reaktly",
            "version": version,
            "description": "One knowledge base: put content in, search it. Every answer carries "
            "`x-request-id`, and keeps yours. Bodies are JSON in UTF-8, up to 32 MiB "
            "(112 MiB for Quant Search and AI SmartTalk) unless the operator says otherwise, "
            "and may be compressed with gzip or deflate.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": models.components,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "headers": {
                name: {"description": description, "schema": {"type": kind}}
                for name, kind, description in _HEADERS.values()
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(o.tag for o in operations)],
    }


class _Models:
    """Schemas of all models: `components` for the document, `query` for parameters."""

    def __init__(self, references: Mapping[Any, Json], definitions: Json) -> None:
        self._references = references
        self.components = definitions

    def reference(self, model: type) -> Json:
        return self._references[model]

    def take_query(self, model: type) -> Json:
        name = self._references[model]["$ref"].rsplit("/", 1)[1]
        return cast("Json", self.components[name])


def _models(operations: Sequence[Operation]) -> _Models:
    modes: dict[type, Literal["validation", "serialization"]] = dict.fromkeys(
        (dialect.envelope for dialect in DIALECTS), "serialization"
    )
    for operation in operations:
        if operation.answer is not None:
            modes[operation.answer] = "serialization"
        for model in (operation.body, operation.query):
            if model is not None:
                modes[model] = "validation"
    adapters: list[tuple[type, Literal["validation", "serialization"], TypeAdapter[Any]]] = [
        (model, mode, TypeAdapter(model)) for model, mode in modes.items()
    ]
    schemas, definitions = TypeAdapter.json_schemas(
        adapters, ref_template=REFERENCE, schema_generator=_Schemas
    )
    components = definitions.get("$defs", {})
    _refer_to_filters(components)
    components[filter_schema.NAME] = filter_schema.filter_schema(FILTER)
    return _Models({model: schema for (model, _), schema in schemas.items()}, components)


def _refer_to_filters(schema: object) -> None:
    if schema == filter_schema.PLACEHOLDER:
        schema = cast("Json", schema)
        schema.clear()
        schema["$ref"] = FILTER
    elif isinstance(schema, dict | list):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            _refer_to_filters(inner)


def _operation(operation: Operation, models: _Models) -> Json:
    described: Json = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "responses": _responses(operation, models),
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(operation.path)
    ]
    if operation.query is not None:
        parameters += _query_parameters(models.take_query(operation.query))
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                JSON_TYPE: {
                    "schema": models.reference(operation.body),
                    "examples": {
                        f"{operation.name}{number}": {
                            "summary": example.summary,
                            "value": example.body,
                        }
                        for number, example in enumerate(operation.examples, 1)
                    },
                }
            },
        }
    if operation.scopes:
        described["security"] = [{"apiKey": []}, {"bearer": []}]
        scopes = " or ".join(f"`{scope}`" for scope in sorted(operation.scopes))
        described["description"] += f"\n\nScope: {scopes}."
    if operation.rate_limit != UNLIMITED:
        described["description"] += f" Limit of a key: {operation.rate_limit} unless set."
    if operation.aliases:
        aliases = ", ".join(f"`{alias}`" for alias in operation.aliases)
        aliases = _PARAMETER.sub(r"{\1}", aliases)
        described["description"] += f"\n\nAlso at {aliases}."
    return described


def _query_parameters(schema: Json) -> list[Json]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": field.get("description", ""),
            "schema": {key: value for key, value in field.items() if key != "description"},
        }
        for name, field in schema["properties"].items()
    ]


def _responses(operation: Operation, models: _Models) -> Json:
    sent = ("x-request-id", *(_ALLOWANCE if operation.scopes else ()))
    good: Json = {"description": HTTPStatus(operation.status).phrase, "headers": _headers(*sent)}
    if operation.answer is not None:
        good["content"] = {JSON_TYPE: {"schema": models.reference(operation.answer)}}
    else:
        good["content"] = {operation.media_type: {}}
    if operation.streams:
        good["content"][EVENT_STREAM] = {"schema": _EVENT}
    if operation.links:
        good["links"] = {
            link.operation: {
                "operationId": link.operation,
                "parameters": {link.parameter: f"$response.body#{link.pointer}"},
            }
            for link in operation.links
        }
    responses: Json = {str(operation.status): good}
    dialect = dialect_of(operation.path)
    for status in sorted(_statuses(operation)):
        error = dialect.worded(_ERRORS[status])
        sent = ("x-request-id", *(name for name, _ in error_headers(error)))
        if isinstance(error, RateLimited):
            sent += _ALLOWANCE
        responses[str(status)] = {
            "description": error.error_code.phrase,
            "headers": _headers(*sent),
            "content": {
                JSON_TYPE: {
                    "schema": models.reference(dialect.envelope),
                    "example": dialect.render(error),
                }
            },
        }
    return responses


def _headers(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{_HEADERS[name][0]}"} for name in names}


def _statuses(operation: Operation) -> set[int]:
    """The errors that an operation may answer with: its own, and those of its kind."""
    statuses = {*operation.errors, 500}
    if operation.scopes:
        statuses |= {401, 403, 429, 503}
        if READ not in operation.scopes and CHAT not in operation.scopes:
            statuses.add(507)  # it writes
    if operation.body is not None:
        statuses |= {400, 413, 415}
    if operation.query is not None:
        statuses.add(400)
    if _PARAMETER.search(operation.path):
        statuses.add(404)
    return statuses
