"""API keys: created by the operator, shown once, kept as a hash."""

import functools
import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import sqlalchemy as sa

from llamaindex_reaktly.errors import InvalidRequest, NotFound
from llamaindex_reaktly.registry.database import Database
from llamaindex_reaktly.registry.schema import api_keys

TOKEN_PREFIX = "rk_live_"  # noqa: S105 - a public prefix, not a secret
SCOPES = ("iq:import", "iq:read", "iq:chat", "iq:admin")
DEFAULT_SCOPES = SCOPES[:3]
EVERY_KNOWLEDGE_BASE = "*"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key may do. `knowledge_bases` is `{"*"}` for all of them."""

    key_id: str
    name: str
    scopes: frozenset[str]
    knowledge_bases: frozenset[str]
    default_knowledge_base: str | None
    rate_limits: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def implied_knowledge_base(self) -> str | None:
        """What a request means that names no knowledge base: the key's only one, or its default."""
        if len(self.knowledge_bases) == 1 and EVERY_KNOWLEDGE_BASE not in self.knowledge_bases:
            return next(iter(self.knowledge_bases))
        return self.default_knowledge_base

    def reaches(self, knowledge_base_id: str) -> bool:
        """Whether the key may touch that knowledge base, existing or not."""
        return (
            EVERY_KNOWLEDGE_BASE in self.knowledge_bases
            or knowledge_base_id in self.knowledge_bases
        )


_BY_TOKEN = sa.select(api_keys).where(api_keys.c.token_hash == sa.bindparam("digest"))


class Keys:
    """The table of keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        name: str,
        *,
        knowledge_bases: Collection[str],
        scopes: Collection[str] = DEFAULT_SCOPES,
        default_knowledge_base: str | None = None,
        expires_at: datetime | None = None,
        rate_limits: Mapping[str, str] | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; returns it with its token, which cannot be had again.

        Raises `InvalidRequest` for an unknown scope, for no knowledge base, and for a
        default that the key does not reach.
        """
        unknown = set(scopes) - set(SCOPES)
        if unknown or not scopes:
            raise InvalidRequest(
                f"unknown scope {', '.join(sorted(unknown))}; use {', '.join(SCOPES)}",
                field="scopes",
            )
        if not knowledge_bases:
            raise InvalidRequest("a key needs at least one knowledge base", field="knowledgeBases")
        if default_knowledge_base is not None and not (
            {default_knowledge_base, EVERY_KNOWLEDGE_BASE} & set(knowledge_bases)
        ):
            raise InvalidRequest(
                "the default knowledge base must be one that the key reaches",
                field="defaultKnowledgeBase",
            )
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        key_id = "key_" + secrets.token_hex(8)

        def insert(connection: sa.Connection) -> None:
            connection.execute(
                sa.insert(api_keys).values(
                    key_id=key_id,
                    name=name,
                    token_hash=_digest(token),
                    scopes=orjson.dumps(sorted(scopes)).decode(),
                    knowledge_bases=orjson.dumps(sorted(knowledge_bases)).decode(),
                    default_knowledge_base=default_knowledge_base,
                    rate_limits=orjson.dumps(dict(rate_limits or {})).decode(),
                    created_at=self._database.now(connection),
                    expires_at=None if expires_at is None else expires_at.timestamp(),
                )
            )

        self._database.write(insert)
        return self.get(key_id), token

    def authenticate(self, token: str) -> ApiKey | None:
        """The key of that token; None if it is unknown, expired or revoked.

        A token holds 256 random bits, so that a plain SHA-256 keeps it: there is nothing
        to guess that a slow hash would protect.
        """
        if not token.startswith(TOKEN_PREFIX):
            return None
        rows = self._database.look_up(_BY_TOKEN, digest=_digest(token))
        if not rows:
            return None
        key = _parsed(tuple(rows[0]))
        if key.revoked_at is not None:
            return None
        if key.expires_at is None:
            return key
        with self._database.read() as connection:
            now = self._database.now(connection)
        return None if key.expires_at.timestamp() <= now else key

    def all(self) -> list[ApiKey]:
        """All keys, oldest first, revoked ones too."""
        with self._database.read() as connection:
            return [
                _key(row)
                for row in connection.execute(
                    sa.select(api_keys).order_by(api_keys.c.created_at)
                ).mappings()
            ]

    def get(self, key_id: str) -> ApiKey:
        """The key of that id; `NotFound` if there is none."""
        with self._database.read() as connection:
            row = (
                connection.execute(sa.select(api_keys).where(api_keys.c.key_id == key_id))
                .mappings()
                .one_or_none()
            )
        if row is None:
            raise NotFound(f"there is no key {key_id!r}")
        return _key(row)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key at once, for good. Revoking it again changes nothing."""

        def update(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=self._database.now(connection))
            )

        self._database.write(update)
        return self.get(key_id)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@functools.lru_cache(maxsize=1024)
def _parsed(row: tuple[Any, ...]) -> ApiKey:
    """The key in a row; of a row that was read before, as it was parsed then."""
    return _key(dict(zip(api_keys.c.keys(), row, strict=True)))


def _key(values: sa.RowMapping | Mapping[str, Any]) -> ApiKey:
    def moment(name: str) -> datetime | None:
        return None if values[name] is None else datetime.fromtimestamp(values[name], UTC)

    return ApiKey(
        key_id=values["key_id"],
        name=values["name"],
        scopes=frozenset(orjson.loads(values["scopes"])),
        knowledge_bases=frozenset(orjson.loads(values["knowledge_bases"])),
        default_knowledge_base=values["default_knowledge_base"],
        rate_limits=orjson.loads(values["rate_limits"]),
        created_at=datetime.fromtimestamp(values["created_at"], UTC),
        expires_at=moment("expires_at"),
        revoked_at=moment("revoked_at"),
    )
