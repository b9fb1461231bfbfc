"""Do answers hold what was asked, word for word, and what do they cost beyond their search?

    python -m benchmarks.answers [--questions 1190]

XQuAD's English paragraphs are indexed by the product and asked its own questions over HTTP.
An answer is right when it holds the published one. Nothing is chosen by these figures: the
threshold of knowing comes from questions of our own (`benchmarks.calibrate_answers`).
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.evaluation_sets import answered_questions, paragraphs
from benchmarks.results import Result, show
from benchmarks.rounds import in_turns, ratios, spread
from benchmarks.server import Client, JsonObject, running_server
from llamaindex_reaktly.embeddings.minilm import MiniLM

BASE = "xquad"
ROUNDS = 6
TIMED_QUESTIONS = 40
SOURCES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with the published answer, and what the product said."""

    published: str
    said: JsonObject

    @property
    def is_answered(self) -> bool:
        """Whether the product claims to know."""
        return bool(self.said["answered"])

    @property
    def is_right(self) -> bool:
        """Whether it knows and the published answer is in what it says."""
        return self.is_answered and self.published in self.said["answer"]


def push(client: Client) -> Mapping[str, str]:
    """Index the paragraphs; their texts by their document's id."""
    texts = {text.id: text.text for text in paragraphs()}
    client.ingest(
        [
            {
                "integrationId": "xquad",
                "knowledgeBaseId": BASE,
                "externalId": text.id,
                "sourceType": "ARTICLE",
                "data": {
                    "title": text.title,
                    "content": text.text,
                    "contentType": "text/plain",
                    "language": "en",
                },
            }
            for text in paragraphs()
        ]
    )
    return texts


def ask(client: Client, question: str) -> JsonObject:
    """`POST /answer`."""
    said: JsonObject = client.post("/answer", {"knowledgeBaseId": BASE, "query": question})
    return said


def misquoted(asked: Sequence[Asked], texts: Mapping[str, str]) -> int:
    """Citations whose quote is not in their document as it was pushed, word for word."""
    wrong = 0
    for one in asked:
        ids = {source["documentId"]: source["externalId"] for source in one.said["sources"]}
        for citation in one.said["citations"]:
            wrong += citation["quote"] not in texts[ids[citation["documentId"]]]
    return wrong


def costs(client: Client, questions: Sequence[str]) -> list[Result]:
    """An answer against its search, and what is beyond it against embedding the question."""
    model = MiniLM.load()
    # As the product searches for an answer.
    body = {"knowledgeBaseId": BASE, "limit": SOURCES}

    def timed(run: object, number: int) -> float:
        assert callable(run)
        some = questions[number * TIMED_QUESTIONS :][:TIMED_QUESTIONS] or questions
        taken = []
        for question in some:
            started = time.perf_counter()
            run(question)
            taken.append(time.perf_counter() - started)
        return statistics.median(taken)

    sides = {
        "answer": lambda n: timed(lambda q: ask(client, q), n),
        "search": lambda n: timed(lambda q: client.post("/search", body | {"query": q}), n),
        "embed": lambda n: timed(model.embed_query, n),
    }
    measured = in_turns(sides, ROUNDS)
    beyond = [a - s for a, s in zip(measured["answer"], measured["search"], strict=True)]
    model.close()
    against_search = ratios(measured["answer"], measured["search"])
    in_embeddings = ratios(beyond, measured["embed"])
    taken = spread([seconds * 1000 for seconds in measured["answer"]])
    return [
        Result("answers.ms", "median answer over HTTP", taken.median, "ms", detail=taken.range()),
        Result(
            "answers.cost",
            "an answer against its search",
            against_search.median,
            "x",
            detail=against_search.range(),
        ),
        Result(
            "answers.beyond",
            "what it costs beyond, in embeddings of a question",
            in_embeddings.median,
            "x",
            detail=f"at most eight sentences are embedded; {in_embeddings.range()}",
        ),
    ]


def measure(client: Client, most: int) -> list[Result]:
    """The figures, from an empty server."""
    texts = push(client)
    pairs = answered_questions()
    pairs = pairs[:: max(1, len(pairs) // most)]
    asked = [Asked(published, ask(client, question)) for question, published in pairs]
    answered = [one for one in asked if one.is_answered]
    sentences = [len(one.said["citations"]) for one in answered]
    wrong = misquoted(asked, texts)
    of = f"{len(asked)} questions, {statistics.mean(sentences):.2f} sentences each"
    return [
        Result(
            "answers.right",
            "share of answers that hold the published one",
            sum(one.is_right for one in asked) / len(asked),
            "",
            detail=f"of {of}; a refusal is wrong",
        ),
        Result(
            "answers.right_of_answered",
            "the same of those answered",
            sum(one.is_right for one in answered) / len(answered),
            "",
            detail=f"{len(asked) - len(answered)} were refused",
        ),
        Result(
            "answers.misquoted",
            "quotes that do not stand in their document",
            wrong,
            "",
            "0",
            wrong == 0,
            f"of {sum(sentences)}",
        ),
        *costs(client, [question for question, _ in pairs]),
    ]


def run(most: int = 1190) -> list[Result]:
    """Measure on a server of its own."""
    with running_server() as server, server.client() as client:
        return measure(client, most)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--questions", type=int, default=1190, help="how many are asked")
    return show(run(parser.parse_args().questions))


if __name__ == "__main__":
    raise SystemExit(main())
