"""A LlamaIndex component that does to its process what the worst of pages do to parsers."""

import os
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, TransformComponent

CRASH = "Pleasecrashtheparser"
HANG = "Pleasehangtheparser"
EXHAUST = "Pleaseexhausttheparser"
# Is for `poisoned_model`.
WORKER_CRASH = "Pleasecrashtheworker"


class Poison(TransformComponent):
    """Crashes, hangs or exhausts its process where a text asks for it."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """The nodes as they are, if that is ever reached."""
        for node in nodes:
            text = node.get_content(MetadataMode.NONE)
            if CRASH in text:
                os.abort()
            while HANG in text:
                pass
            hoard = []
            while EXHAUST in text:
                hoard.append(bytearray(1 << 20))
        return list(nodes)
