"""A vendor whose responses a test gives byte by byte, over a real socket, and a client of it."""

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
COMPLETE = HEAD + b'Content-Length: 8\r\n\r\n{"a": 1}'


def build_client(address: str, before_request: Callable[[], None] | None = None, **bounds: Any) -> VendorHTTP:
    limits: dict[str, Any] = {"timeout": 5.0, "max_bytes": 100_000, "attempts": 4} | bounds
    return VendorHTTP(
        address,
        f"APIKey {SECRET}",
        hosts=["vendor.example"],
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**limits),
        before_request=before_request,
    )


def get_error(http: VendorHTTP, kind: type[SyncError], message: str) -> SyncError:
    """Return the error of a request, which has this class and matches `message`."""
    with pytest.raises(kind, match=message) as exc_info:
        http.get("/")
    return exc_info.value


@cache
def pack_spaces(size: int) -> bytes:
    """Return `size` spaces compressed by gzip, which takes up to a second: to be called in a test, not on import."""
    return gzip.compress(b" " * size, mtime=0)


@contextmanager
def serve_raw(*responses: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one response per connection, the last one for ever; the connection ends with the response."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            remaining = list(responses)
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                response = remaining.pop(0) if len(remaining) > 1 else remaining[0]
                with connection:
                    connection.recv(65536)
                    try:
                        connection.sendall(response) if isinstance(response, bytes) else response(connection)
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
    """Send `piece` again and again until the client closes."""
    while True:
        connection.sendall(piece)
        time.sleep(pause)
