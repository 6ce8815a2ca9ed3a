"""Reading an answer's body: never more than allowed, unpacked exactly, and whole or not at all."""

import time
import zlib

import httpx2
import msgspec

from sync.errors import WrongShape

GZIP = zlib.MAX_WBITS | 16
TRUNCATED = "Input data was truncated"  # msgspec's word for JSON that stops before its end


class CutError(Exception):
    """A body that ended before its end, or took longer than a read may take; asking again may help."""


def read(response: httpx2.Response, max_bytes: int, deadline: float) -> tuple[bytes, int]:
    """Return the unpacked body and how many bytes travelled; `deadline` is of `time.monotonic`.

    Raises WrongShape where there is more than `max_bytes` of either, CutError where it is not all there.
    """
    packing = response.headers.get("content-encoding", "identity").lower()
    if packing not in {"identity", "gzip"}:
        raise WrongShape(f"The answer came packed as {packing[:40]!r}, which was not asked for.")
    if int(response.headers.get("content-length") or 0) > max_bytes:
        raise too_big(max_bytes)
    raw = travelled(response, max_bytes, deadline)
    return (unpacked(raw, max_bytes) if packing == "gzip" else raw), len(raw)


def travelled(response: httpx2.Response, max_bytes: int, deadline: float) -> bytes:
    """Return the body as it came over the wire."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_raw():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise too_big(max_bytes)
        if time.monotonic() > deadline:
            raise CutError("sent its answer too slowly")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def unpacked(raw: bytes, max_bytes: int) -> bytes:
    """Return gzip `raw` unpacked, stopping as soon as it proves to be more than `max_bytes`."""
    unpacker = zlib.decompressobj(GZIP)
    try:
        body = unpacker.decompress(raw, max_bytes + 1)
    except zlib.error:
        raise CutError("sent an answer that cannot be unpacked") from None
    if len(body) > max_bytes:
        raise too_big(max_bytes)
    if not unpacker.eof:
        raise CutError("broke off its answer")
    return body


def must_be_whole(body: bytes, content_type: str) -> None:
    """Raise CutError where JSON stops before its end; any other fault is for the reader to find."""
    # Nearly every answer is an object or a list, and its last character tells that it is there to the end.
    if "json" not in content_type or body.endswith((b"}", b"]")):
        return
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        if str(error) == TRUNCATED:
            raise CutError("broke off its answer") from None
    except (UnicodeDecodeError, RecursionError):
        return


def too_big(max_bytes: int) -> WrongShape:
    """Return the error of an answer that is larger than PORTAL_HTTP_MAX_BYTES."""
    return WrongShape(f"The answer is larger than the {max_bytes:,} bytes allowed (PORTAL_HTTP_MAX_BYTES).")
