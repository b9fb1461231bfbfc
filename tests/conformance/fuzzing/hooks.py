"""What Schemathesis cannot know: names of things that are there.

Most generated requests would end at a knowledge base that nobody made. Half of those
that name one name the one that is there, and so does every item of a batch, which is a 400
when none of its items finds its base; likewise with a job and a document. What is generated
as wrong stays wrong.
"""

import re
from typing import Any, TypeGuard

import schemathesis

from llamaindex_reaktly.domain import DocumentKey
from reaktly_api.patterns import NO_CONTROLS
from reaktly_api.reaktly.requests import INTEGRATION_PREFIX
from tests.end_to_end.product import Identity

KNOWLEDGE_BASE = "kb_xyz789"
ORGANISATION = "acme"
DOCUMENT = Identity(KNOWLEDGE_BASE, "int_abc123", "blog-post-42")
KNOWN = {
    **dict.fromkeys(("knowledgeBaseId", "siteId", "chatModelId"), KNOWLEDGE_BASE),
    "orgId": ORGANISATION,
    "jobId": f"{DOCUMENT.integration_id}-{DOCUMENT.external_id}",
    "documentId": DocumentKey(
        KNOWLEDGE_BASE, INTEGRATION_PREFIX + DOCUMENT.integration_id, DOCUMENT.external_id
    ).document_id,
}


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= 256 and re.match(NO_CONTROLS, value) is not None


def _place(container: object, *, always: bool = False) -> None:
    if not isinstance(container, dict):
        return
    for name, known in KNOWN.items():
        value = container.get(name)
        if _is_name(value) and (always or len(value) % 2):
            container[name] = known
    items = container.get("items")
    for item in items if isinstance(items, list) else ():
        _place(item, always=True)


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Point a request at what is there."""
    for container in (case.body, case.query, case.path_parameters):
        _place(container)
