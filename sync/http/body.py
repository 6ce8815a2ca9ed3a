"""Reading an answer's body: bounded, decompressed exactly, complete or not at all."""

import zlib
from collections.abc import Iterable, Iterator

import httpcore2
import httpx2
import msgspec

from sync.errors import InvalidResponse
from sync.http.bounds import Bounds
from sync.http.deadline import Deadline

GZIP = zlib.MAX_WBITS | 16
GZIP_NAMES = frozenset({"gzip", "x-gzip"})
# What follows a member of gzip is copied once for each member: small pieces keep many small members cheap.
CHUNK_BYTES = 16 * 1024
TRUNCATED = "Input data was truncated"  # msgspec's message for JSON that stops before its end
# Everything that a connection can fail with.
NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)


class IncompleteBody(Exception):
    """A body that breaks off or cannot be decompressed; another attempt may help."""


class GzipDecoder:
    """Decompresses gzip piece by piece: any number of members in a row, zeros between and after them left out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._member: zlib._Decompress | None = None
        self._is_begun = False

    def unpack(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the content of `chunk`; raises InvalidResponse beyond `max_bytes`, IncompleteBody if it is not gzip."""
        for start in range(0, len(chunk), CHUNK_BYTES):
            piece = chunk[start : start + CHUNK_BYTES]
            while piece:
                unpacked, piece = self._unpack_member(piece)
                self._left -= len(unpacked)
                if self._left < 0:
                    raise build_size_error(self._max_bytes)
                yield unpacked

    def finish(self) -> None:
        """Raise IncompleteBody where the last member is incomplete."""
        if self._member is not None or not self._is_begun:
            raise IncompleteBody("broke off its answer")

    def _unpack_member(self, piece: bytes) -> tuple[bytes, bytes]:
        """Return the content of the current member, and the part of `piece` after the member."""
        if self._member is None:
            # Packers of fixed blocks fill up with zeros (RFC 1952 does not forbid it, and gzip itself reads it).
            piece = piece.lstrip(b"\0") if self._is_begun else piece
            if not piece:
                return b"", b""
            self._member, self._is_begun = zlib.decompressobj(GZIP), True
        try:
            unpacked = self._member.decompress(piece, self._left + 1)
        except zlib.error:
            raise IncompleteBody("sent an answer that cannot be unpacked") from None
        if not self._member.eof:
            return unpacked, b""
        remainder = self._member.unused_data
        self._member = None
        return unpacked, remainder


def read_body(
    stream: Iterable[bytes], headers: httpx2.Headers, bounds: Bounds, deadline: Deadline
) -> tuple[bytes, int]:
    """Return the decompressed body of a success and how many bytes travelled.

    Raises InvalidResponse for more than `bounds.max_bytes` of either, IncompleteBody for a body without its end.
    """
    gunzip = create_decoder(headers, bounds.max_bytes)
    if get_content_length(headers) > bounds.max_bytes:
        raise build_size_error(bounds.max_bytes)
    parts: list[bytes] = []
    size = 0
    for chunk in stream:
        size += len(chunk)
        if size > bounds.max_bytes:
            raise build_size_error(bounds.max_bytes)
        deadline.record_progress(len(chunk))
        parts.extend(gunzip.unpack(chunk) if gunzip else [chunk])
    if gunzip:
        gunzip.finish()
    return parts[0] if len(parts) == 1 else b"".join(parts), size


def read_excerpt(stream: Iterable[bytes], headers: httpx2.Headers, bounds: Bounds, deadline: Deadline) -> bytes:
    """Return the beginning of an error's body, as much as arrives soon, which may be nothing.

    The status is what matters: nothing that is wrong with the body is raised.
    """
    deadline.shorten(bounds.error_seconds)
    excerpt = bytearray()
    size = 0
    try:
        gunzip = create_decoder(headers, bounds.error_bytes)
        for chunk in stream:
            size += len(chunk)
            for part in gunzip.unpack(chunk) if gunzip else [chunk]:
                excerpt += part
            if size >= bounds.error_bytes:
                break
    except (IncompleteBody, InvalidResponse, *NETWORK_ERRORS):
        pass
    return bytes(excerpt[: bounds.error_bytes])


def create_decoder(headers: httpx2.Headers, max_bytes: int) -> GzipDecoder | None:
    """Return what decompresses a body, None for a plain one; raises InvalidResponse for any other coding."""
    coding = headers.get("content-encoding", "").strip().lower() or "identity"
    if coding in GZIP_NAMES:
        return GzipDecoder(max_bytes)
    if coding != "identity":
        raise InvalidResponse(f"The answer came packed as {coding[:40]!r}, which was not requested.")
    return None


def get_content_length(headers: httpx2.Headers) -> int:
    """Return Content-Length, 0 where it is missing or no number."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def check_complete(body: bytes, content_type: str) -> None:
    """Raise IncompleteBody where JSON stops before its end; the reader finds other faults."""
    # Nearly every answer is an object or a list, and its last character shows that it is complete.
    if "json" not in content_type or body.endswith((b"}", b"]")):
        return
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        if str(error) == TRUNCATED:
            raise IncompleteBody("broke off its answer") from None
    except (UnicodeDecodeError, RecursionError):
        return


def build_size_error(max_bytes: int) -> InvalidResponse:
    """Return the error of an answer that is larger than PORTAL_HTTP_MAX_BYTES."""
    return InvalidResponse(f"The answer is larger than the {max_bytes:,} bytes allowed (PORTAL_HTTP_MAX_BYTES).")
