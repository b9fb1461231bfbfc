"""What the Quant Search dialect answers: the wire's own names, and the OpenAPI models."""

from typing_extensions import TypedDict  # pydantic needs this one before 3.12


class RefusedPage(TypedDict):
    """A page that was not accepted, or could not be processed, and why."""

    url: str | None
    code: str
    message: str


class IngestAnswer(TypedDict):
    """What became of the pages.

    `processed` ones can be found, `skipped` ones were unchanged, and `queued` ones (ours to add)
    are durable and were not done yet when the answer was due. Every page is in one of the four.
    """

    processed: int
    skipped: int
    errors: list[RefusedPage]
    queued: int


class DeletionAnswer(TypedDict):
    """How many of the pages existed; none of them is found any more."""

    deleted: int


class Site(TypedDict):
    """A knowledge base as a site; `baseUrl` is empty where no page has an absolute url."""

    id: str
    siteId: str
    name: str
    baseUrl: str
    pageCount: int


class SitesAnswer(TypedDict):
    """The sites within reach."""

    sites: list[Site]
