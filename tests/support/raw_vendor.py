"""A vendor that answers byte by byte as a test says, over a real socket, and a connection to it."""

import gzip
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest

from sync.errors import SyncError
from sync.http import Bounds, VendorHTTP

SECRET = "1234$s3cr3t/key"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b'Content-Length: 8\r\n\r\n{"a": 1}'


def client(address: str, before_request: Callable[[], None] | None = None, **bounds: Any) -> VendorHTTP:
    limits: dict[str, Any] = {"timeout": 5.0, "max_bytes": 100_000, "attempts": 4} | bounds
    return VendorHTTP(
        address,
        f"APIKey {SECRET}",
        hosts=["vendor.example"],
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**limits),
        before_request=before_request,
    )


def failure(http: VendorHTTP, kind: type[SyncError], said: str) -> SyncError:
    """Return how a request failed, which is of this kind and says so."""
    with pytest.raises(kind, match=said) as failed:
        http.get("/")
    return failed.value


@cache
def pack_spaces(size: int) -> bytes:
    """Return so many spaces packed by gzip, which takes up to a second: a test asks for them when it runs."""
    return gzip.compress(b" " * size, mtime=0)


@contextmanager
def raw(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one answer per connection, the last one for ever; the connection ends where the answer does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            left = list(answers)
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                answer = left.pop(0) if len(left) > 1 else left[0]
                with connection:
                    connection.recv(65536)
                    try:
                        connection.sendall(answer) if isinstance(answer, bytes) else answer(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def trickle(connection: socket.socket, piece: bytes, pause: float) -> None:
    """Send `piece` again and again until nobody reads any more."""
    while True:
        connection.sendall(piece)
        time.sleep(pause)
