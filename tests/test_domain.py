import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from llamaindex_reaktly.domain import DocumentKey

ID = st.text(st.characters(codec="utf-8"), max_size=20)


@given(base=ID, source=ID, external=ID)
def test_an_id_is_the_base32_of_a_digest_of_the_three_parts_behind_their_lengths(
    base: str, source: str, external: str
) -> None:
    parts = [part.encode() for part in (base, source, external)]
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts))
    encoded = base64.b32encode(digest.digest()[:16]).decode().rstrip("=").lower()
    assert DocumentKey(base, source, external).document_id == f"doc_{encoded}"


def test_an_id_is_the_same_in_every_release() -> None:
    key = DocumentKey("kb_xyz789", "integration:int_abc123", "blog-post-42")
    assert key.document_id == "doc_npiwsf6lhi3ad5dy3xefdnrupm"
