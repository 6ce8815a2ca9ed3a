"""A TCP server in front of Redis that can hang, or refuse connections."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class RedisProxy:
    """Passes bytes on between its clients and the Redis at `redis_url`, until it hangs or refuses."""

    def __init__(self, redis_url: str) -> None:
        parts = urlsplit(redis_url)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self.listener = socket.create_server(("127.0.0.1", 0))
        userinfo, at, _ = parts.netloc.rpartition("@")
        self.url = urlunsplit(parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{self.listener.getsockname()[1]}"))
        self.is_hanging = False
        self.sockets: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Accept connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                redis = socket.create_connection(self.upstream)
                self.sockets += [client, redis]
                for source, target in ((client, redis), (redis, client)):
                    threading.Thread(target=self.forward, args=(source, target), daemon=True).start()

    def forward(self, source: socket.socket, target: socket.socket) -> None:
        """Forward bytes, except while it hangs."""
        with suppress(OSError):
            while received := source.recv(65536):
                if not self.is_hanging:
                    target.sendall(received)

    def refuse(self) -> None:
        """Close all connections and accept no more."""
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for sock in (self.listener, *self.sockets):
            sock.close()


@contextmanager
def redis_proxy(redis_url: str) -> Iterator[RedisProxy]:
    """Yield a proxy for the time of the block."""
    proxy = RedisProxy(redis_url)
    with closing(proxy.listener):
        yield proxy
        proxy.refuse()
