"""Who is calling, and what that key may do."""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers

from llamaindex_reaktly.errors import Forbidden, KnowledgeBaseOutOfReach, Unauthenticated
from reaktly_api.facade import Facade, Key

IMPORT = "iq:import"
READ = "iq:read"
CHAT = "iq:chat"
ADMIN = "iq:admin"
EVERY_KNOWLEDGE_BASE = "*"
MAX_TOKEN_LENGTH = 512


def presented_token(headers: Headers) -> str:
    """The token of `x-api-key`, else of `Authorization: Bearer`; both work in each dialect.

    Raises `Unauthenticated` when there is none.
    """
    token = headers.get("x-api-key", "").strip()
    if not token:
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        token = rest.strip() if scheme.lower() == "bearer" else ""
    if not token:
        raise Unauthenticated("send an API key as x-api-key, or as Authorization: Bearer")
    if len(token) > MAX_TOKEN_LENGTH:
        raise Unauthenticated("the API key is not valid")
    return token


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's key, with the questions that routes ask of it."""

    key: Key

    @property
    def reach(self) -> Collection[str] | None:
        """Ids of the knowledge bases within reach; None when it is all of them."""
        bases = self.key.knowledge_bases
        return None if EVERY_KNOWLEDGE_BASE in bases else bases

    def reaches(self, knowledge_base_id: str) -> bool:
        """Whether the key reaches this knowledge base, be it there or not."""
        reach = self.reach
        return reach is None or knowledge_base_id in reach

    def require_reach(self, knowledge_base_id: str) -> None:
        """Raise `KnowledgeBaseOutOfReach` unless the key reaches this knowledge base."""
        if not self.reaches(knowledge_base_id):
            raise KnowledgeBaseOutOfReach(knowledge_base_id)

    def require_scope(self, scopes: frozenset[str]) -> None:
        """Raise `Forbidden` unless the key has one of `scopes`."""
        if not scopes & self.key.scopes:
            raise Forbidden(f"this API key lacks the scope {' or '.join(sorted(scopes))}")


def authenticate(knowledge_base: Facade, token: str) -> Caller:
    """Look a token up. Raises `Unauthenticated`, which never says what is wrong with it."""
    key = knowledge_base.authenticate(token)
    if key is None:
        raise Unauthenticated("the API key is not valid")
    return Caller(key)
