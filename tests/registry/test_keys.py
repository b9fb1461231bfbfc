"""API keys and knowledge bases."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from llamaindex_reaktly.embeddings.protocol import EmbedderIdentity
from llamaindex_reaktly.errors import Conflict, EmbedderMismatch, InvalidRequest, NotFound
from llamaindex_reaktly.registry.registry import Registry
from llamaindex_reaktly.registry.schema import api_keys


def test_a_key_is_known_by_its_token_and_kept_only_as_a_hash(registry: Registry) -> None:
    key, token = registry.keys.create("cms", knowledge_bases=["kb"])
    assert token.startswith("rk_live_")
    assert registry.keys.authenticate(token) == key
    with registry.database.read() as connection:
        (row,) = connection.execute(sa.select(api_keys))
    assert token not in row
    assert token.removeprefix("rk_live_") not in "".join(map(str, row))


def test_unknown_revoked_and_expired_tokens_are_all_no_key(registry: Registry) -> None:
    key, revoked = registry.keys.create("a", knowledge_bases=["*"])
    registry.keys.revoke(key.key_id)
    past = datetime.now(UTC) - timedelta(seconds=1)
    _, expired = registry.keys.create("b", knowledge_bases=["*"], expires_at=past)
    for token in (revoked, expired, "rk_live_" + "x" * 43, "x", "", "\ud800", revoked + " "):
        assert registry.keys.authenticate(token) is None


def test_a_star_reaches_every_knowledge_base_and_a_list_only_its_own(registry: Registry) -> None:
    every, _ = registry.keys.create("all", knowledge_bases=["*"])
    some, _ = registry.keys.create("some", knowledge_bases=["kb1", "kb2"])
    assert every.reaches("anything")
    assert some.reaches("kb1")
    assert not some.reaches("kb3")


def test_a_key_that_could_not_be_used_is_refused(registry: Registry) -> None:
    with pytest.raises(InvalidRequest, match="unknown scope iq:fly"):
        registry.keys.create("x", knowledge_bases=["kb"], scopes=["iq:fly"])
    with pytest.raises(InvalidRequest, match="at least one"):
        registry.keys.create("x", knowledge_bases=[])
    with pytest.raises(InvalidRequest, match="default"):
        registry.keys.create("x", knowledge_bases=["kb"], default_knowledge_base="other")


def test_a_knowledge_base_is_made_once(registry: Registry) -> None:
    registry.knowledge_bases.create("kb", embedder="minilm", name="Shop")
    with pytest.raises(Conflict):
        registry.knowledge_bases.create("kb", embedder="minilm")
    registry.knowledge_bases.ensure("kb", embedder="minilm")
    assert [info.name for info in registry.knowledge_bases.all()] == ["Shop"]
    with pytest.raises(NotFound):
        registry.knowledge_bases.get("KB")


def test_a_base_keeps_to_the_model_build_that_first_embedded_for_it(registry: Registry) -> None:
    registry.knowledge_bases.create("kb", embedder="minilm")
    first = EmbedderIdentity("minilm", "aaa", 384)
    registry.knowledge_bases.get("kb").require(first)
    registry.knowledge_bases.adopt("kb", first)
    registry.knowledge_bases.adopt("kb", EmbedderIdentity("minilm", "bbb", 384))
    registry.knowledge_bases.get("kb").require(first)
    for other in (
        EmbedderIdentity("minilm", "bbb", 384),
        EmbedderIdentity("minilm", "aaa", 768),
        EmbedderIdentity("e5-small", "aaa", 384),
    ):
        with pytest.raises(EmbedderMismatch):
            registry.knowledge_bases.get("kb").require(other)
