"""Checksums of the embedded store's rows, so that a damaged one is never shown as whole.

SQLite notices damage to a file's structure, not a changed byte inside a text or a vector:
its checksum VFS is an extension that the bundled library does not have. What a search
reads is therefore verified row by row as it is read; what only narrows a search down (the
full-text index, the values that filters compare) is verified by `verification`.

In a damaged file any column may come out with another type than it was given.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from llamaindex_reaktly.errors import IndexDamaged

Value = str | int | bytes | None

# The checksum of nothing that was ever written.
_NOTHING = -1


def of_row(*values: Value) -> int:
    """CRC-32 of the values of a row."""
    plain = "\x1f".join("" if value is None else str(value) for value in values)
    return crc32(plain.encode())


def of_node(
    document: int, node_id: str, ordinal: int, headings: str, text: str, extra: str | None
) -> int:
    """CRC-32 of what is shown of a node."""
    rest = f"{document}\x1f{node_id}\x1f{ordinal}\x1f{headings}\x1f{extra or ''}"
    return crc32(str(text).encode(), crc32(rest.encode()))


def of_profile(language: str, length: int, counts: object) -> int:
    """CRC-32 of a node's term counts."""
    known = crc32(f"{language}\x1f{length}".encode())
    return crc32(counts, known) if isinstance(counts, bytes) else _NOTHING


def of_vector(vector: object) -> int:
    """The sum of the vector's 32-bit words: any one that changes changes it.

    Not a CRC: of all vectors of a base, sums take numpy some milliseconds.
    """
    if not isinstance(vector, bytes) or len(vector) % 4:
        return _NOTHING
    return int(np.frombuffer(vector, dtype="<u4").sum(dtype=np.uint64))


def require(checksum: object, kept: object) -> None:
    """Raise `IndexDamaged` unless the row is as it was written."""
    if checksum != kept:
        raise IndexDamaged("a row of the index is not as it was written")


def joined_vectors(blobs: Sequence[object], kept: Sequence[int], dimension: int) -> bytes:
    """All vectors in one buffer; `IndexDamaged` unless each is as it was written."""
    joined = b"".join(blob for blob in blobs if isinstance(blob, bytes))
    if len(joined) != len(blobs) * dimension * 4:
        raise IndexDamaged("a vector of the index is not of the index's dimension")
    words = np.frombuffer(joined, dtype="<u4").reshape(len(blobs), dimension)
    if words.sum(axis=1, dtype=np.uint64).tolist() != list(kept):
        raise IndexDamaged("a vector of the index is not as it was written")
    return joined
