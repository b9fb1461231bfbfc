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

from llamaindex_reaktly.errors import ErrorCode
from reaktly_api.dialects import DIALECTS, dialect_of
from reaktly_api.operations import EVENT_STREAM, JSON_TYPE, Operation
from reaktly_api.rate_limits import UNLIMITED

REFERENCE = "#/components/schemas/{model}"
Json = dict[str, Any]

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_PHRASES = {code.status: code.phrase for code in ErrorCode}
_ALWAYS = (500,)
_WITH_KEY = (401, 403, 429)


class _Schemas(GenerateJsonSchema):
    """Without the titles that only repeat the field names."""

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
            "`x-request-id`, and keeps yours. Bodies are JSON in UTF-8, up to 32 MiB unless the "
            "operator says otherwise, and may be compressed with gzip or deflate.",
        },
        "paths": paths,
        "components": {
            "schemas": models.components,
            "securitySchemes": {
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
            "headers": {
                "RequestId": {
                    "description": "The request's name in the server's log.",
                    "schema": {"type": "string"},
                }
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
    return _Models(
        {model: schema for (model, _), schema in schemas.items()}, definitions.get("$defs", {})
    )


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
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    good: Json = {"description": HTTPStatus(operation.status).phrase, "headers": headers}
    if operation.answer is not None:
        good["content"] = {JSON_TYPE: {"schema": models.reference(operation.answer)}}
    else:
        good["content"] = {operation.media_type: {}}
    if operation.streams:
        good["content"][EVENT_STREAM] = {"schema": {"type": "string"}}
    responses: Json = {str(operation.status): good}
    statuses = {*operation.errors, *_ALWAYS, *(_WITH_KEY if operation.scopes else ())}
    for status in sorted(statuses):
        responses[str(status)] = {
            "description": _PHRASES[status],
            "headers": headers,
            "content": {
                JSON_TYPE: {"schema": models.reference(dialect_of(operation.path).envelope)}
            },
        }
    return responses
