"""The sample content: Tarnholt, an invented maker of bicycle trailers and bags.

`content/manifest.json` lists the documents, the files beside it hold their texts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONTENT_DIR = Path(__file__).parent / "content"
CONTENT_TYPES = {".html": "text/html", ".md": "text/markdown", ".txt": "text/plain"}

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | dict[str, "JsonValue"]
JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class DemoDocument:
    """One document of the company, as its website would push it.

    `language` is for the reader of the manifest and for the tests; the server
    finds out by itself.
    """

    external_id: str
    source_type: str
    language: str
    title: str
    url: str
    content: str
    content_type: str
    source_data: JsonObject

    def ingest_item(self, *, knowledge_base_id: str, integration_id: str) -> JsonObject:
        """Return the body of `POST /ingest`, which is also an item of `POST /ingest/bulk`."""
        return {
            "integrationId": integration_id,
            "knowledgeBaseId": knowledge_base_id,
            "sourceType": self.source_type,
            "externalId": self.external_id,
            "data": {
                "title": self.title,
                "content": self.content,
                "contentType": self.content_type,
                "url": self.url,
                "sourceData": self.source_data,
            },
        }


def load_documents(content_dir: Path = CONTENT_DIR) -> list[DemoDocument]:
    """Read the manifest and the files that it names, in its order."""
    manifest = json.loads((content_dir / "manifest.json").read_text(encoding="utf-8"))
    return [
        DemoDocument(
            external_id=entry["externalId"],
            source_type=entry["sourceType"],
            language=entry["language"],
            title=entry["title"],
            url=entry["url"],
            content=(content_dir / entry["file"]).read_text(encoding="utf-8"),
            content_type=CONTENT_TYPES[Path(entry["file"]).suffix],
            source_data=entry["sourceData"],
        )
        for entry in manifest
    ]
