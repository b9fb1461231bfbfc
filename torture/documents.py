"""The documents that the clients push, and how to tell from any text which version it is.

Every version of every document has a word of its own, which stands in its title and in
each of its sections. So whatever the server shows of a document, in a listing, a passage
or a search, says which version it is, and whether it is made of two.
"""

import hashlib
import re
from dataclasses import dataclass

VERSION_WORD = re.compile(r"\bq[0-9a-f]{10}\b")

# Passages are sections: a document with several shows whether a search tears it apart.
_SENTENCES = (
    "The mill by the river grinds rye on Thursdays.",
    "A lighthouse keeper counts the ships that pass at dusk.",
    "Salted butter keeps longer in a stone crock than in a tin.",
    "The tram to the harbour leaves every twelve minutes.",
    "An orchard wants pruning before the sap begins to rise.",
    "Copper roofs turn green where the rain brings salt.",
)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """What names a document on the wire."""

    knowledge_base: str
    integration: str
    external_id: str

    @property
    def reference(self) -> dict[str, str]:
        """As requests carry it."""
        return {
            "knowledgeBaseId": self.knowledge_base,
            "integrationId": self.integration,
            "externalId": self.external_id,
        }

    @property
    def job_id(self) -> str:
        """The documented name of its job."""
        return f"{self.integration}-{self.external_id}"

    @property
    def word(self) -> str:
        """A word that all its versions hold, and no other document."""
        return _word("d", *self.reference.values())


def version_word(*coordinates: object) -> str:
    """The word of one version, the same for the same coordinates."""
    return _word("q", *coordinates)


def versions_in(*texts: str | None) -> frozenset[str]:
    """Whose versions' words these texts hold."""
    return frozenset(word for text in texts if text for word in VERSION_WORD.findall(text))


def item(name: Name, version: str) -> dict[str, object]:
    """An item of `/ingest`: the document in that version. A pure function of both."""
    dice = int(version[1:], 16)
    sections = 3 if dice % 5 == 0 else 1
    content = "\n\n".join(
        f"# Part {number + 1}\n\nRecord {name.word}, edition {version}. "
        f"{_SENTENCES[(dice // 7 + number) % len(_SENTENCES)]}"
        for number in range(sections)
    )
    data: dict[str, object] = {
        "title": f"Edition {version}",
        "content": content,
        "contentType": "text/markdown",
    }
    if len(name.external_id) % 3 == 0:
        data["hash"] = version
    return {**name.reference, "sourceType": "ARTICLE", "data": data}


def _word(letter: str, *coordinates: object) -> str:
    text = "\x00".join(str(part) for part in coordinates)
    return letter + hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
