import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llamaindex_reaktly.analysis import Analyzer
from llamaindex_reaktly.answers.extractive import (
    EMBEDDED_SENTENCES,
    KNOWS_FROM,
    MAX_SENTENCES,
    ExtractiveAnswerer,
)
from llamaindex_reaktly.domain import (
    Answer,
    AnswerRequest,
    DocumentKey,
    Passage,
    SearchHit,
    SourceType,
)
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity

DIMENSION = 64
ANALYZER = Analyzer()


class BagOfWords:
    """An embedder by words alone; counts the texts that it embeds."""

    identity = EmbedderIdentity("words", "1", DIMENSION)
    max_tokens = 256

    def __init__(self) -> None:
        self.embedded = 0

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.full(DIMENSION, 1e-6, dtype=np.float32)
        for word in text.lower().replace(".", " ").replace("?", " ").split():
            vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSION] += 1
        return vector / np.linalg.norm(vector)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += len(texts)
        return np.array([self.embed_query(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        return len(text.split()) + 2


def hit(name: str, *texts: str, relevance: float = 0.8, language: str = "en") -> SearchHit:
    key = DocumentKey("kb", "integration:int", name)
    return SearchHit(
        document_id=key.document_id,
        key=key,
        version=1,
        source_type=SourceType.PAGE,
        title=name.title(),
        url=f"/{name}",
        summary=None,
        tags=(),
        attributes={},
        updated_at=datetime(2026, 1, 1, tzinfo=UTC),
        relevance=relevance,
        passages=tuple(
            Passage(f"{name}-{number}", text, (), relevance - number / 100)
            for number, text in enumerate(texts)
        ),
        language=language,
    )


def ask(question: str, *hits: SearchHit, max_tokens: int | None = None) -> Answer:
    request = AnswerRequest("kb", question, max_tokens=max_tokens)
    return ExtractiveAnswerer(ANALYZER).answer(request, hits, BagOfWords())


HOURS = hit(
    "hours",
    "The shop is a red house. It opens at nine on Saturdays. Dogs are welcome. Tea is free.",
)
TENTS = hit("tents", "Tents need air. A tent opens at both ends.", relevance=0.5)


def test_the_sentence_that_says_it_is_the_answer() -> None:
    answer = ask("When does it open on Saturdays?", HOURS, TENTS)
    assert answer.answered
    assert answer.statements[0].text == "It opens at nine on Saturdays."
    assert answer.marked_text.startswith("It opens at nine on Saturdays. [1]")


def test_every_statement_is_word_for_word_where_its_citation_says() -> None:
    answer = ask("When does the shop or the tent open?", HOURS, TENTS)
    assert 1 <= len(answer.statements) <= MAX_SENTENCES
    for statement in answer.statements:
        [citation] = statement.citations
        assert citation.quote == statement.text
        assert citation.passage in citation.hit.passages
        assert citation.marker in answer.marked_text


def test_the_sources_are_the_documents_cited_one_entry_each() -> None:
    answer = ask("Which dogs are welcome, and is tea free?", HOURS, TENTS)
    assert len(answer.citations) == 2
    assert [source.document_id for source in answer.sources] == [HOURS.document_id]
    assert {citation.marker for citation in answer.citations} == {"[1]"}
    assert answer.considered == (HOURS, TENTS)


def test_sentences_of_a_passage_stand_in_its_order() -> None:
    answer = ask("Is tea free, and are dogs welcome?", HOURS)
    assert [statement.text for statement in answer.statements] == [
        "Dogs are welcome.",
        "Tea is free.",
    ]


def test_below_the_threshold_the_base_does_not_know() -> None:
    far = replace(HOURS, relevance=KNOWS_FROM - 0.001)
    answer = ask("When does it open on Saturdays?", far)
    assert not answer.answered
    assert (answer.citations, answer.sources) == ((), ())
    assert answer.text
    assert answer.considered == (far,)


def test_no_documents_and_no_text_are_no_answer() -> None:
    assert not ask("When?").answered
    assert not ask("When?", hit("empty", "", "---")).answered


def test_what_two_documents_say_in_the_same_words_is_said_once() -> None:
    answer = ask("Is tea free?", HOURS, hit("copy", "Tea is\nfree."))
    assert [statement.text for statement in answer.statements] == ["Tea is free."]


def test_only_a_handful_of_sentences_is_embedded() -> None:
    embedder = BagOfWords()
    long = hit("long", *(" ".join(f"Sentence {n} of it." for n in range(50)) for _ in range(3)))
    request = AnswerRequest("kb", "Which sentence of it?")
    ExtractiveAnswerer(ANALYZER).answer(request, [long], embedder)
    assert embedder.embedded == EMBEDDED_SENTENCES


def test_the_question_is_matched_in_the_documents_language() -> None:
    page = hit("seite", "Wir sind ein Laden. Die Preise der Anhänger gelten.", language="de")
    answer = ask("Anhängern Preis", page)
    assert answer.statements[0].text == "Die Preise der Anhänger gelten."


def test_few_tokens_make_a_short_answer() -> None:
    question = "Is tea free, and are dogs welcome?"
    assert ask(question, HOURS, max_tokens=6).text == "Dogs are welcome. Tea is free."
    assert len(ask(question, HOURS, max_tokens=5).statements) == 1
    assert ask("Is tea free?", HOURS, max_tokens=2).text == "Tea is"
    assert ask("Is tea free?", HOURS, max_tokens=1).text == "Tea"


@given(
    st.lists(st.text(max_size=80), max_size=4),
    st.text(min_size=1, max_size=40),
    st.none() | st.integers(1, 20),
)
def test_whatever_the_text_an_answer_quotes_it(
    texts: list[str], question: str, max_tokens: int | None
) -> None:
    answer = ask(question, hit("any", *texts), max_tokens=max_tokens)
    assert len(answer.statements) <= MAX_SENTENCES
    for statement in answer.statements if answer.answered else ():
        [citation] = statement.citations
        assert statement.text == citation.quote.strip() != ""
        assert citation.quote in citation.passage.text
    if answer.answered and max_tokens is not None:
        assert len(answer.text.split()) <= max_tokens
