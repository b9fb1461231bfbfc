"""HTML as clean Markdown: the page's content without what frames it."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lxml import etree
from lxml import html as lxml_html

from llamaindex_reaktly.content.html_blocks import BlockWriter, HtmlBlock, is_hidden
from llamaindex_reaktly.content.language import DEFAULT_LANGUAGE, detect_language
from llamaindex_reaktly.content.main_content import (
    ContentJudge,
    text_by_resiliparse,
    text_by_trafilatura,
)
from llamaindex_reaktly.content.markdown import mask_code

_PAGE = re.compile(r"<(?:!doctype|html|body)[\s>]", re.IGNORECASE)
_ANY_MARKUP = re.compile(
    r"</[a-z]|<!--|<!doctype|<(?:br|p|li|div|hr|img|td|tr|html|body|script|style|template)[\s/>]",
    re.IGNORECASE,
)
_ARTICLE_TYPES = re.compile(
    r'"@type"\s*:\s*\[?\s*"(?:\w*NewsArticle|BlogPosting|LiveBlogPosting|Article|OpinionNewsArticle'
    r'|ReportageNewsArticle)"'
)
_UNSEEN = frozenset({"script", "style", "template"})
# Neither judge is asked about pages beyond these: resiliparse's time grows with
# the square of the depth, trafilatura's with the number of elements.
_DEEPEST_JUDGED = 250
_MOST_ELEMENTS_FOR_TRAFILATURA = 20_000
# libxml2 stops reading at this depth.
_DEEPEST_PARSED = 2000
# A page keeps its link lists where they are most of what it says.
_LINKED_SHARE = 0.8
_ENOUGH_WITHOUT_LINKS = 0.5
_ENOUGH_JUDGED = 0.1


@dataclass(frozen=True, slots=True)
class CleanPage:
    """A page's content as Markdown, with what the page says about itself."""

    markdown: str
    title: str | None
    language: str
    description: str | None


def clean_html(html: str, *, url: str | None = None) -> CleanPage:
    """The content of an HTML page or fragment.

    A whole page loses navigation, header, footer, banners and what the extractor
    chosen for it does not take for content; a fragment keeps all its visible
    text. Links are kept as absolute addresses, relative ones where `url` (the
    page's own) is given. Never raises on any text, and is empty only where
    nothing is visible. Content without markup is returned as it is.
    """
    html = html.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if not _has_markup(html):
        text = html.strip()
        return CleanPage(text, None, detect_language(text), None)
    root = _parse(html)
    depth = 0 if root is None else _depth(root)
    if root is None or depth >= _DEEPEST_PARSED:
        text = visible_text(html)
        return CleanPage(text, None, detect_language(text), None)
    markdown = "\n\n".join(block.markdown for block in _content(html, root, url, depth))
    if not markdown:
        markdown = visible_text(html)
    return CleanPage(
        markdown,
        _title(root),
        _language(root, markdown),
        _meta(root, "description", "og:description"),
    )


def visible_text(html: str) -> str:
    """All text but that of scripts, styles, templates and hidden elements: the last resort.

    Read as a stream, so neither depth nor size matters to it.
    """
    seen = _VisibleText()
    parser = etree.HTMLParser(target=seen, encoding="utf-8", huge_tree=True)
    # An error is a document without any element.
    with contextlib.suppress(etree.LxmlError):
        etree.fromstring(html.encode(), parser)
    return " ".join("".join(seen.texts).split())


class _VisibleText:
    """A target for lxml's parser; tags set words apart."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        # Open elements from the outermost unseen one inwards.
        self._unseen = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self._unseen or tag in _UNSEEN or is_hidden(attributes.get):
            self._unseen += 1
        self.texts.append(" ")

    def end(self, tag: str) -> None:  # noqa: ARG002 (lxml's signature)
        if self._unseen:
            self._unseen -= 1
        self.texts.append(" ")

    def data(self, text: str) -> None:
        if not self._unseen:
            self.texts.append(text)

    def close(self) -> None:
        pass


def _has_markup(html: str) -> bool:
    """Whether there is any tag outside Markdown code: some send Markdown or JSON as HTML."""
    if not _ANY_MARKUP.search(html):
        return False
    return html.lstrip().startswith("<") or _ANY_MARKUP.search(mask_code(html)) is not None


def _parse(html: str) -> lxml_html.HtmlElement | None:
    parser = lxml_html.HTMLParser(  # type: ignore[no-untyped-call]  # lxml has no types
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
    )
    try:
        root = lxml_html.document_fromstring(html.encode(), parser=parser)  # type: ignore[no-untyped-call]  # lxml has no types
    except (etree.LxmlError, ValueError, AssertionError):
        return None
    assert isinstance(root, lxml_html.HtmlElement)
    return root


def _depth(root: etree._Element) -> int:
    deepest = depth = 0
    for event, _ in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        deepest = max(deepest, depth)
    return deepest


def _content(
    html: str, root: lxml_html.HtmlElement, url: str | None, depth: int
) -> list[HtmlBlock]:
    is_page = _PAGE.search(html[:20_000]) is not None
    body = root.find("body")
    blocks = BlockWriter(url=url, frames=is_page).blocks(root if body is None else body)
    if not is_page or not blocks:
        return blocks or BlockWriter(url=url, frames=False).blocks(root)
    if depth <= _DEEPEST_JUDGED:
        blocks = _judged(blocks, html, root)
    return _without_link_lists(blocks)


def _judged(blocks: list[HtmlBlock], html: str, root: lxml_html.HtmlElement) -> list[HtmlBlock]:
    total = sum(block.text_size for block in blocks)
    for text in _judgements(html, root):
        judge = ContentJudge(text)
        if judge.is_empty:
            continue
        kept = _with_headings(blocks, [judge.keeps(block.markdown) for block in blocks])
        if sum(block.text_size for block in kept) >= total * _ENOUGH_JUDGED:
            return kept
    return blocks


def _judgements(html: str, root: lxml_html.HtmlElement) -> Iterator[str]:
    if _is_article(root) and sum(1 for _ in root.iter()) <= _MOST_ELEMENTS_FOR_TRAFILATURA:
        tree = _parse(html)
        if tree is not None:
            yield text_by_trafilatura(tree)
    yield text_by_resiliparse(html)


def _with_headings(blocks: list[HtmlBlock], kept: list[bool]) -> list[HtmlBlock]:
    """The kept blocks, and the headings between two of them or right above one."""
    result: list[HtmlBlock] = []
    pending: list[HtmlBlock] = []
    for block, is_kept in zip(blocks, kept, strict=True):
        if block.is_heading:
            pending = [*pending, block] if is_kept or not pending else [block]
        elif is_kept:
            result += [*pending, block]
            pending = []
        else:
            pending = []
    return result


def _without_link_lists(blocks: list[HtmlBlock]) -> list[HtmlBlock]:
    plain = [
        block
        for block in blocks
        if block.links < 2 or block.link_size < block.text_size * _LINKED_SHARE
    ]
    left = sum(block.text_size for block in plain)
    return plain if left >= sum(b.text_size for b in blocks) * _ENOUGH_WITHOUT_LINKS else blocks


def _is_article(root: lxml_html.HtmlElement) -> bool:
    """News and blog posts: they say so, and they are prose."""
    codes = sum(1 for _ in root.iter("pre")) * 5 + sum(1 for _ in root.iter("code", "dl"))
    if codes >= 10:
        return False
    if (_meta(root, "og:type") or "").lower() in ("article", "blog", "blogposting", "news"):
        return True
    if _meta(root, "article:published_time", "datePublished") is not None:
        return True
    if next(root.iter("article"), None) is not None:
        return True
    return any(
        _ARTICLE_TYPES.search(script.text or "")
        for script in root.iter("script")
        if script.get("type") == "application/ld+json"
    )


def _meta(root: lxml_html.HtmlElement, *names: str) -> str | None:
    for meta in root.iter("meta"):
        if (meta.get("name") or meta.get("property") or meta.get("itemprop")) in names:
            content = " ".join((meta.get("content") or "").split())
            if content:
                return content
    return None


def _title(root: lxml_html.HtmlElement) -> str | None:
    declared = _first_text(root, "title")
    heading = _first_text(root, "h1")
    if heading and (declared is None or heading in declared):
        return heading
    return _meta(root, "og:title") or declared or heading or _first_text(root, "h2")


def _first_text(root: lxml_html.HtmlElement, tag: str) -> str | None:
    element = next(root.iter(tag), None)
    if element is None:
        return None
    return " ".join("".join(element.itertext()).split()) or None


def _language(root: lxml_html.HtmlElement, markdown: str) -> str:
    detected = detect_language(markdown, default="")
    declared = (root.get("lang") or "")[:2].lower()
    if detected:
        return detected
    return declared if len(declared) == 2 and declared.isalpha() else DEFAULT_LANGUAGE
