"""`inkeep-qa-expert`: an answer in prose with its citations, and the vendor's own tools.

The tools and their arguments are those that the vendor's clients declare (their zod schemas).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from llamaindex_reaktly.domain import Answer, AnswerRequest, Citation, SearchHit, Statement
from reaktly_api.inkeep.conversation import Prompt, Said, ToolCall
from reaktly_api.inkeep.rag import record_type
from reaktly_api.operations import Call, dump

# From this relevance of the best source on; it is the share of such hits that answer.
_CONFIDENCE = ((0.5, "very_confident"), (0.25, "somewhat_confident"), (0.0, "not_confident"))
# What would end a Markdown link early, or begin another.
_IN_LINKS = str.maketrans({"(": "%28", ")": "%29", " ": "%20", "<": "%3C", ">": "%3E"})


def answer(call: Call, knowledge_base_id: str, prompt: Prompt) -> Said:
    """The knowledge base's answer, or that it does not know."""
    found = call.knowledge_base.answer(
        AnswerRequest(knowledge_base_id, prompt.question, max_tokens=prompt.max_tokens)
    )

    def called(tools: Sequence[tuple[str, str, Callable[[Answer], object]]]) -> Iterator[ToolCall]:
        for name, argument, told in tools:
            if name in prompt.tools:
                yield ToolCall(name, dump({argument: told(found)}).decode())

    return Said((*called(_BEFORE), *_prose(found.statements), *called(_AFTER)))


def _prose(statements: Sequence[Statement]) -> Iterator[str]:
    """A piece a statement, with links to what it rests on behind it."""
    for number, statement in enumerate(statements):
        cited = " ".join([statement.text, *map(_footnote, statement.citations)])
        yield f" {cited}" if number else cited


def _footnote(citation: Citation) -> str:
    label, url = _label(citation), citation.hit.url
    return f"[({label})]({url.translate(_IN_LINKS)})" if url else f"({label})"


def _label(citation: Citation) -> str:
    return citation.marker.strip("[]")


def _links(found: Answer) -> list[Mapping[str, object]]:
    """The cited documents that have a url, by their footnotes."""
    cited: dict[str, Citation] = {}
    for citation in found.citations:
        cited.setdefault(citation.hit.document_id, citation)
    return [
        {
            "label": _label(one),
            **_record(one.hit),
            **({"description": one.hit.summary} if one.hit.summary else {}),
            "breadcrumbs": one.passage.headings,
        }
        for one in cited.values()
        if one.hit.url
    ]


def _records_considered(found: Answer) -> list[Mapping[str, object]]:
    return [
        {**_record(hit), "breadcrumbs": hit.passages[0].headings if hit.passages else ()}
        for hit in found.considered
    ]


def _record(hit: SearchHit) -> Mapping[str, object]:
    return {"type": record_type(hit), "url": hit.url or "", "title": hit.title}


def _annotations(found: Answer) -> Mapping[str, object]:
    confidence = "no_sources"
    if found.sources:
        relevance = found.sources[0].relevance
        confidence = next(name for least, name in _CONFIDENCE if relevance >= least)
    return {"answerConfidence": confidence}


# A tool, its one argument, and what it is told: before the prose, as the vendor's stream has it,
# and behind it.
_BEFORE = (("provideRecordsConsidered", "recordsConsidered", _records_considered),)
_AFTER = (
    ("provideLinks", "links", _links),
    ("provideAIAnnotations", "aiAnnotations", _annotations),
)
