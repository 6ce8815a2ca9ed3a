"""Breaking off an answer whose body fails midway, so that its reader sees a broken connection and not a short file.

A WSGI server has no word for "this body ends here, but it is not whole", and granian ends the chunked body of an
iterator that raises as if it were complete. What every HTTP/1.1 client understands is a connection that ends before
the last chunk. So the connection is found among this process's sockets and shut down.

WSGI does not say which socket an answer goes to. It is found by what it does: a first few pieces of the body are
made of random lengths, and the one connection that grew by exactly those lengths is the one (TCP_INFO and
SIOCOUTQ, so on Linux only). Where none is found (HTTP/2, HTTP/1.0, TLS that ends in the server, another system)
nothing is cut, and the reader has only the unfinished text to go by (usage/exports).
"""

import fcntl
import os
import random
import socket
import stat
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

BYTES_ACKED_AT = 120  # offset of tcpi_bytes_acked in struct tcp_info (linux/tcp.h)
TCP_INFO_BYTES = 128
LARGEST_PIECE = 1024
# Enough bytes for every round; a body that begins with less is over before it could be told.
LEAST_BLOCK = 8 * LARGEST_PIECE
ROUNDS = 6
AGREEING = 2  # rounds in which the same connection, and no other, grew by exactly what was sent
SETTLE_SECONDS = 0.002
ROUND_SECONDS = 0.25
# How long a round may last in which no connection grows at all: on a busy machine the server gets to send late.
STARVED_SECONDS = 2.0


class AbortMiddleware:
    """Watches every streamed body without a length: one that raises, or takes too long, is cut off.

    The time limit is PORTAL_EXPORT_SECONDS: a client that stalls holds a thread of the server, which hears of
    nothing until its connection is cut. It comes first of all middleware, so that it sees what is really sent.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`."""
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.has_header("Content-Length"):
            port = request.META.get("SERVER_PORT", "")
            if request.META.get("SERVER_PROTOCOL") == "HTTP/1.1" and port.isdecimal():
                blocks: Iterator[bytes] = iter(response.streaming_content)  # type: ignore[arg-type]
                response.streaming_content = watched(blocks, int(port))
        return response


def watched(blocks: Iterator[bytes], port: int) -> Iterator[bytes]:
    """Yield the blocks; where they raise, or last too long, cut the connection of local `port` that they go to."""
    with ExitStack() as stack:
        line = yield from introduced(blocks, port, stack)
        if line is None:
            yield from blocks
            return
        limit = threading.Timer(settings.PORTAL_EXPORT_SECONDS, cut, [line])
        limit.daemon = True
        limit.start()
        stack.callback(limit.cancel)
        try:
            yield from blocks
        except Exception:
            cut(line)
            raise


def introduced(blocks: Iterator[bytes], port: int, stack: ExitStack) -> Generator[bytes, None, socket.socket | None]:
    """Yield the first block in pieces of random lengths; returns the connection that it went to, or None."""
    block = next(blocks, b"")
    lines = connections(port) if len(block) >= LEAST_BLOCK else []
    for line in lines:
        stack.callback(line.close)
    if not lines:
        if block:
            yield block
        return None
    agreed: list[socket.socket] = []
    for number in range(ROUNDS + 1):
        piece, block = cut_at_random(block)
        before = {line: written(line) for line in lines}
        yield piece
        # Before the first piece the server may still have had its headers to send: that round tells nothing.
        grown = those_grown(before, framed(piece)) if number else []
        agreed = [*agreed, *grown] if len(grown) == 1 and {*agreed} <= {*grown} else []
        if len(agreed) == AGREEING:
            break
        time.sleep(SETTLE_SECONDS)
    yield block
    return agreed[0] if len(agreed) == AGREEING else None


def cut_at_random(block: bytes) -> tuple[bytes, bytes]:
    """Return a head of a random length and the rest."""
    at = random.randint(LARGEST_PIECE // 16, LARGEST_PIECE)  # noqa: S311 (a length, not a secret)
    return block[:at], block[at:]


def framed(piece: bytes) -> int:
    """Return how many bytes a chunk takes on the wire (RFC 9112, section 7.1)."""
    return len(f"{len(piece):x}\r\n") + len(piece) + len("\r\n")


def those_grown(before: dict[socket.socket, int], by: int) -> list[socket.socket]:
    """Wait until a connection has grown by exactly that many bytes; returns all that have."""
    begun = time.monotonic()
    while True:
        grown = {line: written(line) - had for line, had in before.items()}
        if exactly := [line for line, more in grown.items() if more == by]:
            return exactly
        patience = ROUND_SECONDS if max(grown.values()) >= by else STARVED_SECONDS
        if time.monotonic() - begun > patience:
            return []
        time.sleep(SETTLE_SECONDS / 4)


def connections(port: int) -> list[socket.socket]:
    """Return this process's TCP connections whose own end is `port`, each through a descriptor of its own."""
    if sys.platform != "linux":
        return []
    found: dict[int, socket.socket] = {}  # by inode: a server may hold a connection more than once
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (names are wanted, not paths)
        with suppress(OSError):
            about = Path("/proc/self/fd", name).stat()
            if not stat.S_ISSOCK(about.st_mode) or about.st_ino in found:
                continue
            line = socket.socket(fileno=os.dup(int(name)))
            if is_connection(line, port):
                found[about.st_ino] = line
            else:
                line.close()
    return list(found.values())


def is_connection(line: socket.socket, port: int) -> bool:
    """Tell whether a socket is a TCP connection whose own end is `port`."""
    if line.family not in {socket.AF_INET, socket.AF_INET6} or line.type != socket.SOCK_STREAM:
        return False
    try:
        line.getpeername()
        return bool(line.getsockname()[1] == port)
    except OSError:
        return False


def written(line: socket.socket) -> int:
    """Return how many bytes were ever written to a connection: those acknowledged and those still on their way."""
    try:
        info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        queued = fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return -1
    acked: int = struct.unpack_from("=Q", info, BYTES_ACKED_AT)[0]
    waiting: int = struct.unpack("=i", queued)[0]
    return acked + waiting


def cut(line: socket.socket) -> None:
    """End a connection both ways, whatever is still to be sent."""
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
