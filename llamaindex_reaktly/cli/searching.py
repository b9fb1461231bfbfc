"""`reaktly search` and `reaktly ask`: one question to one knowledge base."""

import time
from typing import Annotated

import typer

from llamaindex_reaktly.cli.opening import open_knowledge_base
from llamaindex_reaktly.cli.output import print_json, print_line, shorten
from llamaindex_reaktly.cli.parameters import AsJson, KnowledgeBaseId
from llamaindex_reaktly.domain import AnswerRequest, SearchHit, SearchMode, SearchRequest

PASSAGE_SHOWN = 240


def search(
    knowledge_base_id: KnowledgeBaseId,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What is sought.")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most documents to show.")] = 10,
    mode: Annotated[
        SearchMode, typer.Option(help="Which evidence ranks: words, meaning, or both.")
    ] = SearchMode.HYBRID,
    as_json: AsJson = False,
) -> None:
    """Search; the best documents first, each with its best passage."""
    if not query.strip():
        raise typer.BadParameter("is empty", param_hint="QUERY")
    with open_knowledge_base() as knowledge_base:
        started = time.perf_counter()
        result = knowledge_base.search(
            SearchRequest(knowledge_base_id, query, limit=limit, mode=mode)
        )
        taken = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "query": query,
                "results": [_as_json(hit) for hit in result.hits],
                "timingMs": round(taken * 1000, 1),
            }
        )
        return
    for number, hit in enumerate(result.hits, start=1):
        place = hit.url or hit.key.external_id
        print_line(f"{number:2}. {hit.relevance:.2f}  {shorten(hit.title, 80)}  ({place})")
        if hit.passages:
            print_line(f"          {shorten(hit.passages[0].text, PASSAGE_SHOWN)}")
    if not result.hits:
        print_line("nothing found", err=True)


def ask(
    knowledge_base_id: KnowledgeBaseId,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What is to be known.")],
    as_json: AsJson = False,
) -> None:
    """Answer in the documents' own words, with their sources, or say that none holds it."""
    if not question.strip():
        raise typer.BadParameter("is empty", param_hint="QUESTION")
    with open_knowledge_base() as knowledge_base:
        answer = knowledge_base.answer(AnswerRequest(knowledge_base_id, question))
    if as_json:
        cited = {hit.document_id for hit in answer.sources}
        print_json(
            {
                "answer": answer.marked_text,
                "answered": answer.answered,
                "citations": [
                    {
                        "marker": one.marker,
                        "documentId": one.hit.document_id,
                        "url": one.hit.url,
                        "title": one.hit.title,
                        "quote": one.quote,
                    }
                    for one in answer.citations
                ],
                "sources": [
                    {
                        "documentId": hit.document_id,
                        "externalId": hit.key.external_id,
                        "title": hit.title,
                        "url": hit.url,
                        "relevance": hit.relevance,
                        "cited": hit.document_id in cited,
                    }
                    for hit in answer.considered
                ],
            }
        )
        return
    print_line(answer.marked_text)
    for marker, hit in {one.marker: one.hit for one in answer.citations}.items():
        print_line(f"  {marker} {shorten(hit.title, 80)}  ({hit.url or hit.key.external_id})")


def _as_json(hit: SearchHit) -> dict[str, object]:
    """A hit as `POST /search` shows it."""
    from llamaindex_reaktly.knowledge_base import INTEGRATION_PREFIX

    return {
        "documentId": hit.document_id,
        "integrationId": hit.key.source.removeprefix(INTEGRATION_PREFIX),
        "externalId": hit.key.external_id,
        "sourceType": hit.source_type.value,
        "title": hit.title,
        "url": hit.url,
        "summary": hit.summary,
        "relevance": hit.relevance,
        "text": hit.passages[0].text if hit.passages else "",
        "passages": [
            {"text": one.text, "relevance": one.relevance, "headings": list(one.headings)}
            for one in hit.passages
        ],
        "sourceData": dict(hit.attributes),
        "tags": list(hit.tags),
        "updatedAt": hit.updated_at,
    }
