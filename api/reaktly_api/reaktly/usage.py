"""How full knowledge bases are: `/usage`."""

from collections.abc import Mapping, Sequence

from typing_extensions import TypedDict  # pydantic needs this one before 3.12

from reaktly_api.access import READ
from reaktly_api.operations import Call, Operation
from reaktly_api.reaktly.ingest import require_knowledge_base
from reaktly_api.reaktly.requests import UsageQuery


class KnowledgeBaseUsage(TypedDict):
    """What a knowledge base holds, and the most that it may; null: any amount."""

    knowledgeBaseId: str
    documents: int
    maxDocuments: int | None
    characters: int
    maxCharacters: int | None


class UsageAnswer(TypedDict):
    """The knowledge bases within reach, by id."""

    knowledgeBases: Sequence[KnowledgeBaseUsage]


def usage(call: Call) -> Mapping[str, object]:
    """`GET /usage`."""
    query = call.query(UsageQuery)
    bases = call.caller.reach
    if query.knowledge_base_id is not None:
        call.caller.require_reach(query.knowledge_base_id)
        require_knowledge_base(call, query.knowledge_base_id)
        bases = [query.knowledge_base_id]
    quota = call.knowledge_base.quota
    return UsageAnswer(
        knowledgeBases=[
            KnowledgeBaseUsage(
                knowledgeBaseId=base,
                documents=used.documents,
                maxDocuments=quota.documents,
                characters=used.characters,
                maxCharacters=quota.characters,
            )
            for base, used in sorted(call.knowledge_base.usage(bases).items())
        ]
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/usage",
        name="usage",
        tag="Documents",
        summary="How full knowledge bases are",
        description="Documents in whatever state but deleted, and the characters of their content, "
        "with the operator's limits on both.",
        run=usage,
        answer=UsageAnswer,
        scopes=frozenset({READ}),
        query=UsageQuery,
        errors=(404,),
    ),
)
