"""The load: clients on kept-alive connections, each asking again as soon as it has its answer.

`python -m tests.benchmarks.contenders.clients PORT CLIENTS SECONDS PATH` prints what they saw as JSON. It is
one process on raw sockets and reads no more of an answer than its status and its length, so that it takes little of
the machine it shares with the server.
"""

import json
import os
import re
import selectors
import socket
import sys
import time
from statistics import quantiles
from typing import Any

STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ENOUGH = 1 << 20


class Client:
    """One connection with one request under way."""

    def __init__(self, port: int, request: bytes, buffer: memoryview) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.buffer = buffer
        self.head = b""
        self.missing = 0
        self.sent_at = 0.0

    def ask(self) -> None:
        """Send the request."""
        self.head, self.missing = b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> int:
        """Read what has arrived and return its size in bytes. `is_answered` tells when the response is complete."""
        size = self.socket.recv_into(self.buffer)
        if not size:
            raise ConnectionError("The server closed the connection.")
        if self.missing:
            self.missing -= size
        else:
            self.head += self.buffer[:size]
            self._read_head()
        return size

    @property
    def is_answered(self) -> bool:
        """Whether the answer is here to its last byte."""
        return bool(self.head) and self.head.endswith(b"\r\n\r\n") and not self.missing

    def _read_head(self) -> None:
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return
        status, length = STATUS.match(head), LENGTH.search(head)
        if status is None or length is None or status[1] != b"200":
            raise ValueError(f"Not an answer of 200 with a length: {self.head[:2000]!r}")
        self.head = head + end
        self.missing = int(length[1]) - len(body)


def race(port: int, clients: int, seconds: float, request: bytes) -> dict[str, Any]:
    """Let the clients ask for so long, and wait for the last answers; returns counts, bytes, times and own CPU."""
    buffer = memoryview(bytearray(ENOUGH))
    selector = selectors.DefaultSelector()
    cpu, started_at = time.process_time(), time.perf_counter()
    for client in [Client(port, request, buffer) for _ in range(clients)]:
        selector.register(client.socket, selectors.EVENT_READ, client)
        client.ask()
    latencies: list[float] = []
    size = 0
    while selector.get_map():
        for key, _ in selector.select():
            client = key.data
            size += client.receive()
            if not client.is_answered:
                continue
            now = time.perf_counter()
            latencies.append(now - client.sent_at)
            if now - started_at < seconds:
                client.ask()
            else:
                selector.unregister(client.socket)
                client.socket.close()
    elapsed = time.perf_counter() - started_at
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return {
        "requests": len(latencies),
        "seconds": elapsed,
        "bytes": size,
        "cpu": time.process_time() - cpu,
        "median_ms": cuts[49] * 1000,
        "p95_ms": cuts[94] * 1000,
    }


def main(port: str, clients: str, seconds: str, path: str) -> None:
    """Run the clients and print what they saw; the token, where there is one, comes in BENCH_TOKEN."""
    token = os.environ.get("BENCH_TOKEN", "")
    access = f"Authorization: Bearer {token}\r\n" if token else ""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n{access}\r\n".encode()
    sys.stdout.write(json.dumps(race(int(port), int(clients), float(seconds), request)))


if __name__ == "__main__":
    main(*sys.argv[1:])
