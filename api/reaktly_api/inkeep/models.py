"""The models that are served, which knowledge base they answer from, and `GET /v1/models`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from llamaindex_reaktly.errors import InvalidRequest, UnknownModel
from reaktly_api.access import CHAT, READ
from reaktly_api.inkeep import expert, rag
from reaktly_api.inkeep.conversation import Prompt, Said
from reaktly_api.operations import Call, Operation

KNOWLEDGE_BASE_HEADER = "x-knowledge-base"
# OpenAI's list tells when a model was made; ours are as old as the vendor's dated name.
CREATED = 1_741_564_800  # 2025-03-10


@dataclass(frozen=True, slots=True)
class Family:
    """A model under all its names: the vendor pins versions (`inkeep-rag-20250310`)."""

    names: re.Pattern[str]
    listed: tuple[str, ...]
    scope: str
    answer: Callable[[Call, str, Prompt], Said]


FAMILIES = (
    Family(re.compile(r"inkeep-rag(-\d{8})?"), ("inkeep-rag",), READ, rag.answer),
    # Pinned to a language model at the vendor's; here all of them answer alike.
    Family(
        re.compile(r"inkeep-qa-[a-z0-9][a-z0-9.-]*"),
        (
            "inkeep-qa-expert",
            "inkeep-qa-sonnet-3-5",
            "inkeep-qa-gpt-4o",
            "inkeep-qa-gpt-4-turbo",
        ),
        CHAT,
        expert.answer,
    ),
)
SCOPES = frozenset(family.scope for family in FAMILIES)


class Model(TypedDict):
    """A model's name, in OpenAI's words."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(TypedDict):
    """The models that are served."""

    object: Literal["list"]
    data: list[Model]


def answer(call: Call, model: str, prompt: Prompt) -> Said:
    """What the model of that name says.

    Raises `UnknownModel`, `Forbidden` without the model's scope, and `InvalidRequest` where
    nothing says which knowledge base is meant.
    """
    name, _, knowledge_base_id = model.partition("@")
    family = next((one for one in FAMILIES if one.names.fullmatch(name)), None)
    if family is None:
        raise UnknownModel(f"model: there is no model {name!r}; GET /v1/models lists them")
    call.caller.require_scope(frozenset({family.scope}))
    knowledge_base_id = _knowledge_base(call, knowledge_base_id)
    call.caller.require_reach(knowledge_base_id)
    return family.answer(call, knowledge_base_id, prompt)


def _knowledge_base(call: Call, named: str) -> str:
    """The one that the request names, else the one that the key implies."""
    chosen = (
        named
        or call.headers.get(KNOWLEDGE_BASE_HEADER, "").strip()
        or call.caller.key.implied_knowledge_base
    )
    if not chosen:
        raise InvalidRequest(
            f"{KNOWLEDGE_BASE_HEADER}: this API key reaches several knowledge bases and has no "
            "default; name one in this header or as a model such as inkeep-rag@KNOWLEDGE_BASE",
            field=KNOWLEDGE_BASE_HEADER,
        )
    return chosen


def list_models(call: Call) -> Mapping[str, object]:
    """`GET /v1/models`: those that the key may use."""
    return Models(
        object="list",
        data=[
            Model(id=name, object="model", created=CREATED, owned_by="reaktly")
            for family in FAMILIES
            if family.scope in call.caller.key.scopes
            for name in family.listed
        ],
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/models",
        name="listModels",
        tag="Inkeep",
        summary="List models",
        description="The models that this key may use. `@` and a knowledge base's id may follow "
        "each name.",
        run=list_models,
        answer=Models,
        scopes=SCOPES,
    ),
)
