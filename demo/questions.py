"""What is sought in and asked of the sample content, and which document answers it."""

from dataclasses import dataclass, field

from demo.content import JsonObject


@dataclass(frozen=True, slots=True)
class Question:
    """A search, and the document that has the answer (it must be among the first three).

    `only` lists all documents that satisfy `filters`; nothing else may be found.
    """

    kind: str
    text: str
    answered_by: str
    filters: JsonObject = field(default_factory=dict)
    condition: str = ""
    only: frozenset[str] | None = None


QUESTIONS = (
    Question(
        kind="An article number, word for word",
        text="TH-HX12",
        answered_by="axle-hitch-hx12",
    ),
    Question(
        kind="A paraphrase",
        text="my bag soaks through in the rain, how do I make the fabric shed water again?",
        answered_by="rewax-canvas",
    ),
    Question(
        kind="A row of a table on a web page",
        text="What does it cost to have a trailer delivered to Norway?",
        answered_by="shipping-policy",
    ),
    Question(
        kind="A service with its price and duration",
        text="how long does the yearly inspection take and how much is it?",
        answered_by="annual-safety-check",
    ),
    Question(
        kind="A person",
        text="who can tell me whether a torn bag is worth mending?",
        answered_by="rosalind-achterberg",
    ),
    Question(
        kind="With filters on price and stock",
        text="something to bring the weekly shopping home",
        answered_by="carrier-40",
        filters={
            "sourceType": "PRODUCT",
            "sourceData.category": "trailers",
            "sourceData.price": {"lt": 400},
            "sourceData.inStock": True,
        },
        condition="trailers under 400, in stock",
        only=frozenset({"carrier-40", "carrier-65-refurbished"}),
    ),
    Question(
        kind="In German",
        text="Wie viele Tage habe ich Zeit, einen Artikel zurückzuschicken?",
        answered_by="versand-und-rueckgabe",
    ),
    Question(
        kind="In French",
        text="Comment rendre ma sacoche de nouveau imperméable ?",
        answered_by="entretenir-la-toile-ciree",
    ),
    Question(
        kind="A technical page with code",
        text="how many stock feed requests may a dealer send in an hour?",
        answered_by="dealer-stock-feed",
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to be answered in the documents' words; None: the sample holds no answer."""

    text: str
    answered_by: str | None
    phrase: str = ""


ASKED = (
    Asked("How heavy may a dog be for your dog trailer?", "burrow-dog-trailer", "30 kg"),
    Asked("Is the workshop closed in August?", "opening-hours", "closed"),
    Asked("Which wood glue is best for a guitar neck?", None),
)
