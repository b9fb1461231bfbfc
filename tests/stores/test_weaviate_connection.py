"""Whatever a server does on the wire, the caller gets the package's own error."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from llamaindex_reaktly.errors import Unavailable
from llamaindex_reaktly.stores.weaviate_connection import WeaviateAddress, WeaviateConnection


@pytest.fixture
def dying_server() -> Iterator[str]:
    """The address of one that hangs up in the middle of each answer, as a killed one does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-le")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_server_that_dies_in_mid_answer_is_unavailable(dying_server: str) -> None:
    connection = WeaviateConnection(WeaviateAddress(dying_server))

    async def ask() -> int:
        async with httpx.AsyncClient() as client:  # as the server's own client does
            return (await client.get(dying_server)).status_code

    try:
        with pytest.raises(Unavailable):
            connection.read(ask)
    finally:
        connection.close()
