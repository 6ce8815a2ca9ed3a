"""Slow clients that send or read a byte a second, each with an open connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

CLIENTS = 50
SMALL_BUFFER = 2048


@contextmanager
def trickle_connections(
    port: int, begin: bytes, *, send: bytes = b"", read: bool = False
) -> Iterator[list[socket.socket]]:
    """Open CLIENTS connections that send `begin`, then `send` or read the response, one byte a second each."""
    stop = threading.Event()
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(begin)
        thread = threading.Thread(target=drip, args=(clients, stop, send, read))
        thread.start()
        try:
            yield clients
        finally:
            stop.set()
            thread.join()


def connect(port: int) -> socket.socket:
    """Return a connection with a small receive buffer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    return client


def drip(clients: list[socket.socket], stop: threading.Event, send: bytes, read: bool) -> None:
    """Move one byte on every connection each second until `stop` is set."""
    while not stop.wait(1):
        for client in clients:
            with suppress(OSError):
                if read:
                    client.recv(1)
                elif send:
                    client.sendall(send)
