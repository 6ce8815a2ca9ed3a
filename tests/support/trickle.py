"""Strangers who send or read at a byte a second, each holding a connection open."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

STRANGERS = 50
SMALL_BUFFER = 2048


@contextmanager
def trickle_connections(
    port: int, begin: bytes, *, send: bytes = b"", read: bool = False
) -> Iterator[list[socket.socket]]:
    """Keep STRANGERS connections that send `begin`, then `send` or read the answer, one byte a second each."""
    stop = threading.Event()
    with ExitStack() as stack:
        strangers = [stack.enter_context(connect(port)) for _ in range(STRANGERS)]
        for stranger in strangers:
            stranger.sendall(begin)
        dripping = threading.Thread(target=drip, args=(strangers, stop, send, read))
        dripping.start()
        try:
            yield strangers
        finally:
            stop.set()
            dripping.join()


def connect(port: int) -> socket.socket:
    """Return a connection that takes next to nothing into its buffer."""
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    stranger.settimeout(10)
    stranger.connect(("127.0.0.1", port))
    return stranger


def drip(strangers: list[socket.socket], stop: threading.Event, send: bytes, read: bool) -> None:
    """Move one byte on every connection each second until `stop` is set."""
    while not stop.wait(1):
        for stranger in strangers:
            with suppress(OSError):
                if read:
                    stranger.recv(1)
                elif send:
                    stranger.sendall(send)
