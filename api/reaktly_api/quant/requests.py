"""What the Quant Search dialect reads: these models validate, and are the OpenAPI document.

Types are strict, unknown fields are ignored (`fetchedAt` among them: when a page was fetched
is no change of it), and an optional field may be null.
"""

import re
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llamaindex_reaktly.domain import (
    ContentType,
    DocumentKey,
    JsonValue,
    SecondName,
    SourceDocument,
    SourceType,
)
from reaktly_api.patterns import LANGUAGE_TAG, NO_CONTROLS, NO_CONTROLS_OR_EMPTY
from reaktly_api.reaktly.requests import (
    MAX_ID_LENGTH,
    MAX_SUMMARY_LENGTH,
    MAX_TAGS,
    MAX_TITLE_LENGTH,
    MAX_URL_LENGTH,
    Attributes,
    Url,
)

SOURCE = "quant"
"""Of all pages that come by this dialect; no integration's source is a bare word."""

MAX_PAGES = 100
MAX_DELETED = 10_000
_MAX_URL_BYTES = 2_048
# What content management systems call a page's language that has none (ISO 639-2).
_NO_LANGUAGE = frozenset({"und", "zxx", "mul", "mis"})
_ID = re.compile(NO_CONTROLS)


def _refuse_long(url: str) -> str:
    # A url is the page's identity, and what it is looked up by holds no more.
    if len(url.encode()) > _MAX_URL_BYTES:
        msg = f"is longer than {_MAX_URL_BYTES} bytes"
        raise ValueError(msg)
    return url


EmptyList = Annotated[list[object], Field(max_length=0, description="So PHP writes no pairs.")]
PageUrl = Annotated[Url, Field(min_length=1), AfterValidator(_refuse_long)]
Key = Annotated[str, Field(max_length=MAX_ID_LENGTH, pattern=NO_CONTROLS_OR_EMPTY)]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", alias_generator=to_camel)


class IngestedPage(_Body):
    """One page; it replaces the one that is known by its url, or else by its key."""

    url: PageUrl = Field(
        description="The page's address, absolute or root-relative: its identity, as it stands."
    )
    content: str = Field(description="Full content: plain text, HTML or Markdown; 1 MB at most.")
    title: str | None = Field(
        default=None,
        max_length=MAX_TITLE_LENGTH,
        description="Title; taken from the page without it.",
    )
    summary: str | None = Field(
        default=None,
        max_length=MAX_SUMMARY_LENGTH,
        description="Shown in results; the page's description or lead sentences without it.",
    )
    tags: list[Annotated[str, Field(max_length=256, pattern=NO_CONTROLS_OR_EMPTY)]] | None = Field(
        default=None,
        max_length=MAX_TAGS,
        description="Count for relevance; the page's keywords without them.",
    )
    key: Key | None = Field(
        default=None,
        description="A name of your own for the page. Sent with another url, it moves the page.",
    )
    metadata: Attributes | EmptyList | None = Field(
        default=None, description="Your own key-value pairs, filterable as `sourceData.NAME`."
    )
    language: str | None = Field(
        default=None,
        max_length=35,
        pattern=LANGUAGE_TAG,
        description="BCP 47 tag of the content's language; told from the text without it.",
    )
    content_type: Annotated[ContentType, Field(strict=False)] | None = Field(
        default=None, description="How `content` is written; told by itself without it."
    )

    def document(self, site_id: str) -> SourceDocument:
        """The page as the core knows it."""
        language = self.language
        return SourceDocument(
            key=page_key(site_id, self.url),
            source_type=SourceType.PAGE,
            title=(self.title or "").strip(),
            content=self.content,
            content_type=self.content_type,
            url=self.url,
            summary=(self.summary or "").strip() or None,
            tags=tuple(stripped for tag in self.tags or () if (stripped := tag.strip())),
            language=None if language is None or language.lower() in _NO_LANGUAGE else language,
            attributes=cast("dict[str, JsonValue]", self.metadata or {}),
            is_renamable=True,
            second_name=self.key or None,
            fill_missing=True,
        )


class PagesBody(_Body):
    """Pages to put into a site; each is validated on its own, and refused ones are named."""

    pages: list[IngestedPage] = Field(max_length=MAX_PAGES)


class PagesHead(_Body):
    """What is validated of `PagesBody` before its pages."""

    pages: list[object]


class DeletionBody(_Body):
    """Which pages to delete: `url`, `urls`, `keys`, or several of these."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"type": kind}}}
                for name, kind in (("url", "string"), ("urls", "array"), ("keys", "array"))
            ]
        }
    )

    url: Annotated[str, Field(max_length=MAX_URL_LENGTH)] | None = Field(
        default=None, description="Of one page; must match exactly."
    )
    urls: list[Annotated[str, Field(max_length=MAX_URL_LENGTH)]] | None = Field(
        default=None, max_length=MAX_DELETED, description="Of several pages."
    )
    keys: list[Annotated[str, Field(max_length=MAX_ID_LENGTH)]] | None = Field(
        default=None, max_length=MAX_DELETED, description="Your own names of pages."
    )

    @property
    def names_nothing(self) -> bool:
        """Whether none of the three is there."""
        return self.url is None and self.urls is None and self.keys is None

    def names(self, site_id: str) -> list[DocumentKey | SecondName]:
        """The pages as the core knows them."""
        urls = [*([] if self.url is None else [self.url]), *(self.urls or ())]
        return [
            *(page_key(site_id, url) for url in urls),
            *(SecondName(site_id, SOURCE, key) for key in self.keys or ()),
        ]


class WaitQuery(BaseModel):
    """How long to wait for the pages."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    wait: bool = Field(
        default=False,
        description="Answer when all pages are searchable or failed, or after 280 s; without it "
        "after 5 s at most.",
    )


def page_key(site_id: str, url: str) -> DocumentKey:
    """The page's identity in the core."""
    return DocumentKey(site_id, SOURCE, url)


def is_id(text: str) -> bool:
    """Whether a part of a path may be the id of a site or an organisation."""
    return 0 < len(text) <= MAX_ID_LENGTH and _ID.match(text) is not None
