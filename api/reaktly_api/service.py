"""What a server tells about itself: health, readiness, metrics and its documentation."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.errors import Unauthenticated
from reaktly_api.envelopes import NotReady
from reaktly_api.http_metrics import HttpMetrics
from reaktly_api.operations import Call, Operation, Reply

TAG = "Server"

# The worker is in neither: what is accepted is durable and what is indexed is found
# without one, and a server that starts must not be held back by its worker's imports.
NEEDED = {
    "accept": ("registry", "disk"),
    "search": ("registry", "store", "embedder"),
}


class Health(TypedDict):
    """The process lives."""

    status: str


class Readiness(TypedDict):
    """Each part, `ok` or in a sentence."""

    status: str
    parts: dict[str, str]


class ReadyQuery(BaseModel):
    """What one wants to do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    purpose: Literal["accept", "search"] | None = Field(
        default=None, alias="for", description="Only what this needs; both without it."
    )


def health(_: Call) -> Mapping[str, object]:
    """`GET /health`."""
    return Health(status="ok")


def ready(call: Call) -> Mapping[str, object]:
    """`GET /ready`."""
    purpose = call.query(ReadyQuery).purpose
    parts = dict(call.knowledge_base.readiness())
    needed = NEEDED[purpose] if purpose else (*NEEDED["accept"], *NEEDED["search"])
    ailing = [part for part in dict.fromkeys(needed) if parts.get(part, "ok") != "ok"]
    if ailing:
        raise NotReady(parts, ailing)
    return Readiness(status="ready", parts=parts)


def root(_: Call) -> Reply:
    """`GET /`."""
    return Reply(b"", status=302, headers=(("location", "/docs"),))


def service_operations(
    metrics: HttpMetrics,
    openapi: Callable[[], Mapping[str, object]],
    page: Callable[[], tuple[str, str]],
) -> Sequence[Operation]:
    """The operations; `page` gives the documentation's HTML and its content policy."""

    def scrape(call: Call) -> Reply:
        token = call.house.settings.metrics_token
        expected = b"" if token is None else b"Bearer " + token.get_secret_value().encode()
        presented = call.headers.get("authorization", "").encode("latin-1")
        if expected and not hmac.compare_digest(presented, expected):
            raise Unauthenticated("send the metrics token as Authorization: Bearer")
        return Reply(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    def document(_: Call) -> Reply:
        return Reply(orjson.dumps(openapi()))

    def docs(_: Call) -> Reply:
        html, policy = page()
        return Reply(
            html.encode(),
            media_type="text/html; charset=utf-8",
            headers=(("content-security-policy", policy), ("referrer-policy", "no-referrer")),
        )

    return (
        Operation(
            method="GET",
            path="/health",
            name="health",
            tag=TAG,
            summary="Whether the process lives",
            description="200 while it does, whatever else is away.",
            run=health,
            answer=Health,
            on_loop=True,
        ),
        Operation(
            method="GET",
            path="/ready",
            name="ready",
            tag=TAG,
            summary="Whether documents can be accepted and searched",
            description="200, or 503 with the state of each part.",
            run=ready,
            answer=Readiness,
            query=ReadyQuery,
            errors=(503,),
        ),
        Operation(
            method="GET",
            path="/metrics",
            name="metrics",
            tag=TAG,
            summary="Metrics for Prometheus",
            description="No labels by tenant. May want a token of its own, as a bearer token.",
            run=scrape,
            media_type="text/plain",
        ),
        Operation(
            method="GET",
            path="/openapi.json",
            name="openapi",
            tag=TAG,
            summary="This interface as an OpenAPI 3.1 document",
            description="Made from the models that validate the requests.",
            run=document,
        ),
        Operation(
            method="GET",
            path="/docs",
            name="docs",
            tag=TAG,
            summary="This interface for people",
            description="One page without scripts, made from the OpenAPI document.",
            run=docs,
            media_type="text/html",
        ),
        Operation(
            method="GET",
            path="/",
            name="root",
            tag=TAG,
            summary="Leads to the documentation",
            description="A redirect to `/docs`.",
            run=root,
            on_loop=True,
            status=302,
        ),
    )
