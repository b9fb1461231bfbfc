"""Reading pages that were written for Quant Search (seed 002)."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from llama_index.core.readers.base import BasePydanticReader
from llama_index.core.schema import Document
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from llamaindex_reaktly.domain import ContentType, DocumentKey, SourceDocument, SourceType
from llamaindex_reaktly.errors import InvalidRequest
from llamaindex_reaktly.readers.documents import llama_document

# PHP writes no pairs as an empty list, and nothing as null.
_Pairs = Annotated[dict[str, JsonValue], BeforeValidator(lambda value: value or {})]


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    url: str = Field(min_length=1)
    content: str
    title: str | None = None
    summary: str | None = None
    tags: tuple[str, ...] | None = None
    language: str | None = None
    content_type: ContentType | None = None
    metadata: _Pairs = Field(default_factory=dict)

    def document(self, site_id: str) -> SourceDocument:
        return SourceDocument(
            key=DocumentKey(site_id, "quant", self.url),
            source_type=SourceType.PAGE,
            title=self.title or "",
            content=self.content,
            content_type=self.content_type,
            url=self.url,
            summary=self.summary,
            tags=self.tags or (),
            language=self.language,
            attributes=self.metadata,
        )


class _Export(BaseModel):
    pages: list[_Page]

    @model_validator(mode="before")
    @classmethod
    def _named(cls, raw: object) -> object:
        return {"pages": raw} if isinstance(raw, list) else raw


class QuantPagesReader(BasePydanticReader):
    """Reads pages from a JSON file: the body of an ingestion request, or a bare list of pages.

    A page's id depends on its url and on `site_id` alone; with the site's id it is the
    `documentId` that the page has in that knowledge base. `content` stays as it is: put
    `HtmlCleaner` before a node parser. Fits `SimpleDirectoryReader(file_extractor=…)`.
    """

    site_id: str = ""

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex serialises this component."""
        return "QuantPagesReader"

    def lazy_load_data(
        self, file: Path | str, extra_info: Mapping[str, object] | None = None
    ) -> Iterator[Document]:
        """The pages in the order of the file; of one url that comes twice, the last.

        `extra_info` is added to each one's metadata, where the page has nothing of that name.
        Raises `OSError`, and `InvalidRequest` that names what is wrong in which page.
        """
        pages = _pages(Path(file).read_bytes())
        for page in {page.url: page for page in pages}.values():
            document = llama_document(page.document(self.site_id))
            for key, value in (extra_info or {}).items():
                if key not in document.metadata:
                    document.metadata[key] = value
                    document.excluded_embed_metadata_keys.append(key)
            yield document


def _pages(exported: bytes) -> list[_Page]:
    try:
        return _Export.model_validate_json(exported).pages
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise InvalidRequest(f"{place}: {problem['msg']}", field=place) from None
