"""Knowledge bases: which exist, and which model their vectors come from."""

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from llamaindex_reaktly.domain import DocumentState
from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import Conflict, EmbedderMismatch, UnknownKnowledgeBase
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.names import forget
from llamaindex_reaktly.registry.schema import (
    documents,
    indexes,
    knowledge_bases,
    payloads,
    replaced_versions,
)
from llamaindex_reaktly.registry.slices import IDS_PER_STATEMENT


@dataclass(frozen=True, slots=True)
class KnowledgeBaseInfo:
    """One knowledge base. `embedder_build` is None until something was embedded for it."""

    knowledge_base_id: str
    name: str
    organisation: str | None
    embedder: str
    embedder_build: str | None
    dimension: int | None
    created_at: datetime

    def require(self, identity: EmbedderIdentity) -> None:
        """Raise `EmbedderMismatch` unless vectors of `identity` may be compared with the base's."""
        if self.embedder != identity.name or (
            self.embedder_build is not None
            and (self.embedder_build, self.dimension) != (identity.build, identity.dimension)
        ):
            raise EmbedderMismatch(
                f"knowledge base {self.knowledge_base_id!r} was embedded by {self.embedder} "
                f"({self.embedder_build}, {self.dimension} dimensions), but {identity.name} "
                f"({identity.build}, {identity.dimension} dimensions) is loaded; install that "
                f"model or run `reaktly rebuild {self.knowledge_base_id}`"
            )


@dataclass(frozen=True, slots=True)
class SourceCount:
    """How many documents of a source are in each state."""

    source: str
    state: str
    documents: int


@dataclass(frozen=True, slots=True)
class Holding:
    """What a knowledge base has of a source: how many documents, and one of their urls."""

    knowledge_base: KnowledgeBaseInfo
    documents: int
    url: str | None


_BY_ID = sa.select(knowledge_bases).where(knowledge_bases.c.knowledge_base_id == sa.bindparam("id"))
_EXISTING = sa.select(knowledge_bases.c.knowledge_base_id).where(
    knowledge_bases.c.knowledge_base_id.in_(sa.bindparam("ids", expanding=True))
)
_ANY_ID = sa.select(knowledge_bases.c.knowledge_base_id).limit(1)


class KnowledgeBases:
    """The table of knowledge bases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        knowledge_base_id: str,
        *,
        embedder: str,
        name: str = "",
        organisation: str | None = None,
    ) -> KnowledgeBaseInfo:
        """Add a knowledge base; `Conflict` if there is one of that id."""

        def insert(connection: sa.Connection) -> None:
            if connection.execute(_BY_ID, {"id": knowledge_base_id}).first() is not None:
                raise Conflict(f"knowledge base {knowledge_base_id!r} exists already")
            connection.execute(
                sa.insert(knowledge_bases).values(
                    knowledge_base_id=knowledge_base_id,
                    name=name or knowledge_base_id,
                    organisation=organisation,
                    embedder=embedder,
                    created_at=self._database.now(connection),
                )
            )

        self._database.write(insert)
        return self.get(knowledge_base_id)

    def ensure(self, knowledge_base_id: str, *, embedder: str) -> None:
        """Create the knowledge base unless it is there."""
        if self.find(knowledge_base_id) is None:
            with contextlib.suppress(Conflict):  # somebody else was first, which is as good
                self.create(knowledge_base_id, embedder=embedder)

    def bind(self, knowledge_base_id: str, organisation: str) -> bool:
        """Make it that organisation's unless it is one's already; whether it is that one's now."""

        def update(connection: sa.Connection) -> bool:
            one = knowledge_bases.c.knowledge_base_id == knowledge_base_id
            connection.execute(
                sa.update(knowledge_bases)
                .where(one, knowledge_bases.c.organisation.is_(None))
                .values(organisation=organisation)
            )
            owner = connection.execute(sa.select(knowledge_bases.c.organisation).where(one))
            return owner.scalar_one_or_none() == organisation

        info = self.find(knowledge_base_id)
        if info is None or info.organisation is not None:
            return info is not None and info.organisation == organisation
        return self._database.write(update)

    def find(self, knowledge_base_id: str) -> KnowledgeBaseInfo | None:
        """The knowledge base of that id, or None."""
        rows = self._database.look_up(_BY_ID, id=knowledge_base_id)
        columns = knowledge_bases.c.keys()
        return _info(dict(zip(columns, rows[0], strict=True))) if rows else None

    def get(self, knowledge_base_id: str) -> KnowledgeBaseInfo:
        """The knowledge base of that id; `UnknownKnowledgeBase` if there is none."""
        info = self.find(knowledge_base_id)
        if info is None:
            raise UnknownKnowledgeBase(knowledge_base_id)
        return info

    def all(self) -> list[KnowledgeBaseInfo]:
        """All knowledge bases by id."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(knowledge_bases).order_by(knowledge_bases.c.knowledge_base_id)
            ).mappings()
            return [_info(row) for row in rows]

    def any_id(self) -> str | None:
        """The id of one that is there; None if there is none."""
        return next((row[0] for row in self._database.look_up(_ANY_ID)), None)

    def existing(self, ids: Collection[str]) -> set[str]:
        """Those of `ids` that exist."""
        return {found for (found,) in self._database.look_up(_EXISTING, ids=list(ids))}

    def adopt(self, knowledge_base_id: str, identity: EmbedderIdentity) -> None:
        """Record whose vectors the base holds, the first time any are put into it."""
        self._database.write(
            lambda connection: connection.execute(
                sa.update(knowledge_bases)
                .where(
                    knowledge_bases.c.knowledge_base_id == knowledge_base_id,
                    knowledge_bases.c.embedder_build.is_(None),
                )
                .values(embedder_build=identity.build, dimension=identity.dimension)
            )
        )

    def reset_embedder(self, knowledge_base_id: str, embedder: str) -> None:
        """Forget whose vectors the base holds; for a rebuild."""
        self._database.write(
            lambda connection: connection.execute(
                sa.update(knowledge_bases)
                .where(knowledge_bases.c.knowledge_base_id == knowledge_base_id)
                .values(embedder=embedder, embedder_build=None, dimension=None)
            )
        )

    def delete(self, knowledge_base_id: str) -> None:
        """Remove the knowledge base with all its rows; `UnknownKnowledgeBase` if there is none.

        The rows go in several transactions, so that others get their turn in between, and
        the knowledge base itself with the last of them.
        """
        some = (
            sa.select(documents.c.document_id)
            .where(documents.c.knowledge_base_id == knowledge_base_id)
            .order_by(documents.c.document_id)
            .limit(IDS_PER_STATEMENT)
            .with_for_update()
        )

        def remove(connection: sa.Connection) -> bool:
            ids = list(connection.execute(some).scalars())
            connection.execute(sa.delete(payloads).where(payloads.c.document_id.in_(ids)))
            connection.execute(sa.delete(documents).where(documents.c.document_id.in_(ids)))
            forget(connection, ids)
            if len(ids) == IDS_PER_STATEMENT:
                return False
            connection.execute(
                sa.delete(replaced_versions).where(
                    replaced_versions.c.knowledge_base_id == knowledge_base_id
                )
            )
            connection.execute(
                sa.delete(knowledge_bases).where(
                    knowledge_bases.c.knowledge_base_id == knowledge_base_id
                )
            )
            connection.execute(
                sa.delete(indexes).where(indexes.c.knowledge_base_id == knowledge_base_id)
            )
            return True

        self.get(knowledge_base_id)
        while not self._database.write(remove):
            pass

    def sources(self, knowledge_base_id: str) -> list[SourceCount]:
        """How many documents each source has in each state."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(documents.c.source, documents.c.state, sa.func.count())
                .where(documents.c.knowledge_base_id == knowledge_base_id)
                .group_by(documents.c.source, documents.c.state)
                .order_by(documents.c.source, documents.c.state)
            )
            return [SourceCount(*row) for row in rows]

    def holdings(self, source: str, ids: Collection[str] | None = None) -> list[Holding]:
        """Every knowledge base, or those of `ids` that exist, with what it has of a source."""
        of_source = (
            sa.select(
                documents.c.knowledge_base_id,
                sa.func.count().label("documents"),
                sa.func.max(documents.c.url).label("url"),
            )
            .where(documents.c.source == source, documents.c.state != DocumentState.DELETED)
            .group_by(documents.c.knowledge_base_id)
        )
        bases = sa.select(knowledge_bases).order_by(knowledge_bases.c.knowledge_base_id)
        if ids is not None:
            some = list(ids)
            of_source = of_source.where(documents.c.knowledge_base_id.in_(some))
            bases = bases.where(knowledge_bases.c.knowledge_base_id.in_(some))
        with self._database.read() as connection:
            held = {row[0]: row for row in connection.execute(of_source)}
            return [
                Holding(_info(row), *held.get(row["knowledge_base_id"], ("", 0, None))[1:])
                for row in connection.execute(bases).mappings()
            ]


def _info(values: sa.RowMapping | Mapping[str, Any]) -> KnowledgeBaseInfo:
    return KnowledgeBaseInfo(
        knowledge_base_id=values["knowledge_base_id"],
        name=values["name"],
        organisation=values["organisation"],
        embedder=values["embedder"],
        embedder_build=values["embedder_build"],
        dimension=values["dimension"],
        created_at=datetime.fromtimestamp(values["created_at"], UTC),
    )
