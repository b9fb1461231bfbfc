"""Whose request this is: what it may do, and which knowledge base it means."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from llamaindex_reaktly.errors import Forbidden, InvalidRequest
from reaktly_mcp.facade import Base, Facade, Key

IMPORT = "iq:import"
READ = "iq:read"
CHAT = "iq:chat"
EVERY_KNOWLEDGE_BASE = "*"
# Of more bases than these, a refusal names no more.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller may do. `reach` is None where that is every knowledge base."""

    scopes: frozenset[str] = frozenset({IMPORT, READ, CHAT})
    reach: frozenset[str] | None = None
    default_base: str | None = None

    @classmethod
    def of_key(cls, key: Key, chosen_base: str | None = None) -> Self:
        """What a key opens; `chosen_base` is the request's own choice, where it has none."""
        bases = key.knowledge_bases
        return cls(
            scopes=key.scopes,
            reach=None if EVERY_KNOWLEDGE_BASE in bases else bases,
            default_base=key.default_knowledge_base or chosen_base,
        )

    def read_only(self) -> Self:
        """The same without what changes anything."""
        return replace(self, scopes=self.scopes - {IMPORT})

    def reaches(self, knowledge_base_id: str) -> bool:
        """Whether this knowledge base is within reach, be it there or not."""
        return self.reach is None or knowledge_base_id in self.reach

    @property
    def only_base(self) -> str | None:
        """The one knowledge base within reach, where there is but one."""
        if self.reach is not None and len(self.reach) == 1:
            return next(iter(self.reach))
        return None

    def choose(self, named: str, facade: Facade) -> str:
        """The knowledge base that a request means which names `named`, or nothing.

        Raises `Forbidden` for one out of reach, and `InvalidRequest`, which lists those
        within reach, where it must be named.
        """
        chosen = named or self.only_base or self.default_base
        if chosen is None:
            bases = self.visible(facade)
            if len(bases) != 1:
                raise InvalidRequest(_which(bases), field="knowledge_base")
            chosen = bases[0].knowledge_base_id
        if not self.reaches(chosen):
            raise Forbidden(f"the knowledge base {chosen!r} is not within reach of this API key")
        return chosen

    def visible(self, facade: Facade) -> list[Base]:
        """The knowledge bases that exist and are within reach."""
        return [
            base for base in facade.list_knowledge_bases() if self.reaches(base.knowledge_base_id)
        ]


def _which(bases: Sequence[Base]) -> str:
    if not bases:
        return "there is no knowledge base yet; name the one to make as `knowledge_base`"
    names = ", ".join(base.knowledge_base_id for base in bases[:NAMED])
    more = ", …" if len(bases) > NAMED else ""
    return f"name one of these as `knowledge_base`: {names}{more}"
