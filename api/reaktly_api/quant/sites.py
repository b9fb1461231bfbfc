"""Sites, which are knowledge bases: whose they are, what is in them, emptying one."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from llamaindex_reaktly.errors import UnknownKnowledgeBase
from reaktly_api.access import IMPORT, READ
from reaktly_api.facade import Holding
from reaktly_api.operations import Call, Operation
from reaktly_api.quant.answers import DeletionAnswer, Site, SitesAnswer
from reaktly_api.quant.requests import SOURCE, is_id

TAG = "Quant Search"
RATE_LIMIT = "60/minute"
OF_ORGANISATION = "/organisations/{orgId}/ai-search"
"""The seed's paths start so; the vendor's clients leave it out, or put `/api` before either."""


def aliases(path: str) -> tuple[str, ...]:
    """The other paths that lead to what is at `/organisations/{orgId}/ai-search` and `path`."""
    return path, f"/api{OF_ORGANISATION}{path}", f"/api{path}"


def site_of(call: Call) -> str:
    """The site of a request's path. Raises an error for one that the key does not reach."""
    site = call.path_parameters["siteId"]
    call.caller.require_reach(site)
    if not is_id(site):
        raise UnknownKnowledgeBase(site)
    return site


def enter(call: Call, site: str, *, create: bool = False) -> None:
    """Raise `UnknownKnowledgeBase` for a site that is not there, or another organisation's.

    The first organisation that names a site has it. `create` says that a page may create it.
    """
    organisation = call.path_parameters.get("orgId")
    if organisation is not None:
        if not is_id(organisation):
            raise UnknownKnowledgeBase(site)
        call.knowledge_base.enter(site, organisation, create=create)
    elif not create and not call.knowledge_base.knowledge_base_exists(site):
        raise UnknownKnowledgeBase(site)


def list_sites(call: Call) -> Mapping[str, object]:
    """`GET /sites`."""
    organisation = call.path_parameters.get("orgId")
    held = call.knowledge_base.holdings(SOURCE, call.caller.reach)
    return SitesAnswer(
        sites=[
            _site(one)
            for one in held
            if organisation is None or one.knowledge_base.organisation in (None, organisation)
        ]
    )


def purge(call: Call) -> Mapping[str, object]:
    """`POST /sites/{siteId}/purge`."""
    site = site_of(call)
    enter(call, site)
    return DeletionAnswer(deleted=call.knowledge_base.delete_source(site, SOURCE))


def _site(held: Holding) -> Site:
    base = held.knowledge_base
    return Site(
        id=base.knowledge_base_id,
        siteId=base.knowledge_base_id,
        name=base.name,
        baseUrl=_origin(held.url),
        pageCount=held.documents,
    )


def _origin(url: str | None) -> str:
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


OPERATIONS = (
    Operation(
        method="GET",
        path=f"{OF_ORGANISATION}/sites",
        aliases=aliases("/sites"),
        name="quantSites",
        tag=TAG,
        summary="List sites",
        description="The knowledge bases within reach, with the number of pages of each. Under an "
        "organisation those that are its own or nobody's yet.",
        run=list_sites,
        answer=SitesAnswer,
        scopes=frozenset({IMPORT, READ}),
        rate_limit=RATE_LIMIT,
    ),
    Operation(
        method="POST",
        path=f"{OF_ORGANISATION}/sites/{{siteId}}/purge",
        aliases=aliases("/sites/{siteId}/purge"),
        name="quantPurge",
        tag=TAG,
        summary="Delete all pages of a site",
        description="Those that came by this interface. No search that starts after the answer "
        "finds them. The body, if there is one, is not read.",
        run=purge,
        answer=DeletionAnswer,
        scopes=frozenset({IMPORT}),
        errors=(404,),
        rate_limit=RATE_LIMIT,
    ),
)
