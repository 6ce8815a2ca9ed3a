"""Connections to a vendor that keep the deadline of the exchange they serve, whatever they wait for."""

import socket
import ssl
from collections.abc import Callable, Iterable
from functools import cache
from time import monotonic
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from sync.errors import ErrorCode, VendorUnavailable
from sync.http.background import BackgroundThreads
from sync.http.deadline import DEADLINE

LISTEN_SECONDS = 0.5  # how long a connection waits before it checks whether the answer is still needed
WRITE_BYTES = 64 * 1024
KEEP_ALIVE_SECONDS = 5.0


def open_pool(
    base: httpx2.URL, connections: int, check_address: Callable[[str], None] | None = None
) -> httpcore2.ConnectionPool:
    """Return a pool of connections to `base`, through the proxy that the environment names for it.

    `check_address` is called with every IP address before it is connected to, and may raise.
    """
    return httpcore2.ConnectionPool(
        ssl_context=create_tls(),
        proxy=find_proxy(base),
        max_connections=connections,
        keepalive_expiry=KEEP_ALIVE_SECONDS,
        network_backend=DeadlineBackend(check_address),
    )


@cache
def create_tls() -> ssl.SSLContext:
    """Return the TLS context of this process: making it costs more than many requests."""
    return httpx2.create_ssl_context()


def find_proxy(base: httpx2.URL) -> httpcore2.Proxy | None:
    """Return the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, unless NO_PROXY names the host."""
    proxies = getproxies()
    address = proxies.get(base.scheme) or proxies.get("all")
    if not address or proxy_bypass(base.host):
        return None
    try:
        proxy = httpx2.Proxy(address if "://" in address else f"http://{address}")
    except (ValueError, httpx2.InvalidURL):
        proxy = None
    if proxy is None or proxy.url.scheme not in {"http", "https"}:
        raise VendorUnavailable(
            "The proxy that the environment of the portal names is not an HTTP proxy.", code=ErrorCode.PROXY_FAILED
        )
    return httpcore2.Proxy(
        build_url(proxy.url),
        auth=proxy.raw_auth,
        ssl_context=create_tls() if proxy.url.scheme == "https" else None,
    )


def build_url(url: httpx2.URL) -> httpcore2.URL:
    """Return `url` as a connection takes it."""
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def resolve_host(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host; raises ConnectError where it has none, ConnectTimeout after `seconds`."""
    # The system's resolver cannot be interrupted, so it is left in its thread.
    threads = BackgroundThreads(1)
    lookup = threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    threads.close()
    try:
        return list(dict.fromkeys(str(entry[4][0]) for entry in lookup.result(seconds)))
    except TimeoutError:
        raise httpcore2.ConnectTimeout from None
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError from error


class DeadlineBackend(httpcore2.NetworkBackend):
    """Opens connections; the deadline holds over the look-up of the name and all of its addresses."""

    def __init__(self, check_address: Callable[[str], None] | None = None) -> None:
        self._sockets = httpcore2.SyncBackend()
        self._check_address = check_address

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that answers within `timeout` seconds."""
        failure: Exception = httpcore2.ConnectError()
        for address in resolve_host(host, port, DEADLINE.get().seconds_left()):
            if self._check_address is not None:
                self._check_address(address)
            seconds = limit_timeout(timeout)
            try:
                stream = self._sockets.connect_tcp(address, port, seconds, local_address, socket_options)
                return DeadlineStream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class DeadlineStream(httpcore2.NetworkStream):
    """A connection that the deadline of the current exchange ends; a timeout of single reads alone would not."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what arrives within `timeout` seconds."""
        seconds = limit_timeout(timeout)
        # Not before the deadline, however long the thread waits for its turn between the two instants.
        silent_until = monotonic() + seconds
        while True:
            wait = min(limit_timeout(timeout), LISTEN_SECONDS, max(silent_until - monotonic(), 0.001))
            try:
                return self._stream.read(max_bytes, wait)
            except httpcore2.ReadTimeout:
                if monotonic() >= silent_until:
                    DEADLINE.get().seconds_left()  # Raises where the deadline has passed.
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_BYTES):
            self._stream.write(buffer[start : start + WRITE_BYTES], limit_timeout(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, limit_timeout(timeout)))
        except BaseException:
            self.close()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def limit_timeout(timeout: float | None) -> float:
    """Return `timeout`, or what the current exchange has left where that is less."""
    left = DEADLINE.get().seconds_left()
    return left if timeout is None else min(timeout, left)
