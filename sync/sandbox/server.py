"""The sandbox's HTTP server, on 127.0.0.1 only: vendors under `/<vendor>/`, control under `/_sandbox/`."""

import asyncio
import contextlib
import gzip
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs, unquote

from aiohttp import web

from sync.api_messages import APIRequest, APIResponse
from sync.sandbox.control import handle_control
from sync.sandbox.stats import RequestLog
from sync.sandbox.upstream import Reply, Upstream

HOST: Final = "127.0.0.1"
CONTROL: Final = "_sandbox"
HUGE_CHUNK: Final = b" " * 65536
HUGE_CHUNKS: Final = 16384  # 1 GiB; a client that reads this far has no limit
BOMB_CHUNKS: Final = 2048
UNANSWERED_FAULTS: Final = frozenset({"hang", "reset", "truncated", "huge", "header_trickle"})
"""Faults after which no complete answer has arrived; counted as status 0."""
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing sends RST


class Handler:
    """Turns HTTP requests into the upstream's, and carries out the faults of the connection."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def __call__(self, message: web.BaseRequest) -> web.StreamResponse:
        path, _, query = message.raw_path.partition("?")
        vendor, slash, vendor_path = unquote(path).lstrip("/").partition("/")
        request = APIRequest(
            message.method,
            slash + vendor_path,
            parse_qs(query, keep_blank_values=True) if query else {},
            {name.lower(): value for name, value in message.headers.items()},
            await message.read(),
        )
        if vendor == CONTROL:
            return _build_response(handle_control(self.upstream, request))
        return await self._serve_vendor(vendor, request, message)

    async def _serve_vendor(self, vendor: str, request: APIRequest, message: web.BaseRequest) -> web.StreamResponse:
        """Answer a vendor's request after the latency that is set, and count it however it ends."""
        stats = self.upstream.stats
        arrived, status, fault, sent = time.time(), 0, "", 0
        stats.begin(vendor)
        try:
            if self.upstream.settings.latency_ms:
                await asyncio.sleep(self.upstream.settings.latency_ms / 1000)
            reply = self.upstream.build_reply(vendor, request)
            fault = reply.fault
            response = await self._apply_fault(reply, message)
            if fault not in UNANSWERED_FAULTS:
                status, sent = response.status, len(reply.answer.body)
            return response
        finally:
            agent = request.headers.get("user-agent", "")
            log = RequestLog(arrived, vendor, request.method, request.path, status, fault, request.body, agent)
            stats.end(log, sent)

    async def _apply_fault(self, reply: Reply, message: web.BaseRequest) -> web.StreamResponse:
        match reply.fault:
            case "hang" | "header_trickle":
                return await _hang(reply.fault, self.upstream.settings.hang_seconds, message)
            case "reset":
                return await _reset_connection(reply, message)
            case "truncated":
                return await _send_truncated(reply.answer, message)
            case "huge":
                return await _stream_huge(reply.answer, message)
            case "gzip_bomb":
                return _build_gzip_bomb(reply.answer)
        compress = self.upstream.settings.compress and "gzip" in message.headers.get("Accept-Encoding", "")
        return _build_response(reply.answer, compress)


def _build_response(answer: APIResponse, compress: bool = False) -> web.Response:
    headers, body = {"Content-Type": answer.content_type, **answer.headers}, answer.body
    if compress:
        headers["Content-Encoding"], body = "gzip", gzip.compress(body, 1)
    return web.Response(status=answer.status, body=body, headers=headers)


async def _send_half(answer: APIResponse, message: web.BaseRequest) -> web.StreamResponse:
    """Send the head and half of the body that the head promises."""
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = max(len(answer.body), 2)
    await response.prepare(message)
    await response.write(answer.body[: len(answer.body) // 2] or b"\n")
    return response


async def _send_truncated(answer: APIResponse, message: web.BaseRequest) -> web.StreamResponse:
    response = await _send_half(answer, message)
    if message.transport is not None:
        message.transport.close()
    return response


async def _reset_connection(reply: Reply, message: web.BaseRequest) -> web.StreamResponse:
    """Reset the connection: before the answer or, in the other variant, after half of it."""
    if reply.variant:
        await _send_half(reply.answer, message)
    return _abort_connection(message)


def _abort_connection(message: web.BaseRequest) -> web.StreamResponse:
    """Reset the connection; what is returned can no longer be sent."""
    if message.transport is not None:
        message.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        message.transport.abort()
    return web.Response()


async def _stream_huge(answer: APIResponse, message: web.BaseRequest) -> web.StreamResponse:
    """Stream spaces after an opening brace until the client leaves."""
    response = web.StreamResponse(headers={"Content-Type": answer.content_type})
    await response.prepare(message)
    await response.write(b"{")
    with contextlib.suppress(ConnectionError):
        for _ in range(HUGE_CHUNKS):
            await response.write(HUGE_CHUNK)
    return response


async def _hang(fault: str, seconds: float, message: web.BaseRequest) -> web.StreamResponse:
    """Send nothing, or one header line a second, and break off."""
    end = time.monotonic() + seconds
    line = b"HTTP/1.1 200 OK\r\n"
    while message.transport is not None and not message.transport.is_closing() and time.monotonic() < end:
        if fault == "header_trickle":
            message.transport.write(line)
            line = b"X-Wait: a little longer\r\n"
        await asyncio.sleep(min(1.0, max(end - time.monotonic(), 0)))
    return _abort_connection(message)


def _build_gzip_bomb(answer: APIResponse) -> web.Response:
    headers = {"Content-Type": answer.content_type, "Content-Encoding": "gzip"}
    return web.Response(body=_build_bomb(), headers=headers)


@lru_cache(maxsize=1)
def _build_bomb() -> bytes:
    """Return 128 MiB of spaces, gzipped: one chunk's deflate blocks over and over, and the checksum of all."""
    packer = zlib.compressobj(wbits=-15)
    blocks = packer.compress(HUGE_CHUNK) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(BOMB_CHUNKS):
        checksum = zlib.crc32(HUGE_CHUNK, checksum)
    end = struct.pack("<II", checksum, BOMB_CHUNKS * len(HUGE_CHUNK))
    return gzip.compress(b"")[:10] + blocks * BOMB_CHUNKS + packer.flush() + end


@contextlib.asynccontextmanager
async def serve(upstream: Upstream, port: int = 0) -> AsyncIterator[int]:
    """Serve an upstream on 127.0.0.1 for the context's time, on the port it gives; OSError if it is taken."""
    server = web.Server(Handler(upstream), access_log=None, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(server, HOST, port, backlog=1024)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.shutdown(0.2)
        await listener.wait_closed()
