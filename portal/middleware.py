"""Middleware of every request: its line of the log, the body first, a content security policy, compression."""

import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain

import structlog
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.http.request import UnreadablePostError
from django.middleware import gzip
from django.utils.cache import patch_vary_headers

from portal.accounts.security_log import log_refusal
from portal.accounts.throttling import get_client_address
from portal.error_views import refuse_request
from portal.metrics.http_requests import name_method, name_route, request_counts
from sync.models import REQUEST_ID_LENGTH
from sync.tracing import annotate_span, open_span

logger = structlog.get_logger("portal.request")

GetResponse = Callable[[HttpRequest], HttpResponseBase]

TOO_LARGE = "The body is too large."
BROKEN_OFF = "The body broke off."

# Every script and style is a file of the portal; no page uses a nonce.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'; object-src 'none'"
)

# Letters, digits and some punctuation: such as a UUID, or nginx's $request_id.
REQUEST_ID = re.compile(rf"[A-Za-z0-9._:=+/-]{{8,{REQUEST_ID_LENGTH}}}")

GZIP_FORMAT = 16 + zlib.MAX_WBITS
# Level 1 takes a third of the CPU time of Django's level 6 for an export, and the file is 16 % larger.
LEVEL = 1
BLOCK_BYTES = 32 * 1024
COMPRESSED_TYPES = ("application/vnd.openxmlformats", "application/vnd.apache.parquet", "application/zip")


class RequestLogMiddleware:
    """Logs method, path, status and duration of every request under its id, a proxy's or a new id.

    The response has the id too. All lines of a request have it and the client's address, and the user or the token's
    prefix once it is known.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`; its query string is left out of the log, since it can contain names."""
        request_id = get_request_id(request)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id, address=get_client_address(request)):
            try:
                with open_span("request", "SERVER", carrier=request.headers):
                    response = self.get_response(request)
                    describe_request(request, response.status_code)
                log_refusal(request, response.status_code)
                seconds = time.perf_counter() - started
                request_counts.record(request, response.status_code, seconds)
                logger.info(
                    "request",
                    method=request.method,
                    path=request.path,
                    status=response.status_code,
                    milliseconds=round(seconds * 1000, 1),
                )
            finally:
                structlog.contextvars.unbind_contextvars("user", "token")
        response.headers["X-Request-Id"] = request_id
        return response


def describe_request(request: HttpRequest, status: int) -> None:
    """Name the span of a request as metrics name it, without what a client put into its address."""
    route, method = name_route(request), name_method(request)
    facts = {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    annotate_span(facts, f"{method} {route}")


def get_request_id(request: HttpRequest) -> str:
    """Return the id that a proxy set for the request; a new id where there is none or it is not fit for a line."""
    request_id = request.headers.get("X-Request-Id", "")
    return request_id if REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex


class BodyMiddleware:
    """Reads the complete body before a session or a token is fetched; refuses a body that is too large unread.

    A body may arrive at a byte a second. Its request then uses a thread of the server; read later, it would use
    a database connection too, of which there are fewer.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`, whose body is in memory from here on."""
        try:
            _ = request.body
        except RequestDataTooBig:
            return refuse_request(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LARGE)
        except UnreadablePostError:
            return refuse_request(request, HTTPStatus.BAD_REQUEST, BROKEN_OFF)
        return self.get_response(request)


class ContentSecurityPolicyMiddleware:
    """Sets the content security policy of every response, except of Django's debug pages, whose styles are inline."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request` with the policy."""
        response = self.get_response(request)
        is_debug_page = settings.DEBUG and response.status_code in {HTTPStatus.NOT_FOUND, 500}
        if not is_debug_page:
            response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class GZipMiddleware(gzip.GZipMiddleware):
    """Django's, with a faster level for streamed responses; what is compressed already, or in part, stays as it is."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Return the response, compressed where the client accepts it."""
        if not isinstance(response, StreamingHttpResponse):
            return super().process_response(request, response)
        if response.has_header("Content-Encoding") or response["Content-Type"].startswith(COMPRESSED_TYPES):
            return response
        patch_vary_headers(response, ("Accept-Encoding",))
        if gzip.re_accepts_gzip.search(request.headers.get("Accept-Encoding", "")):
            response.streaming_content = make_first(compress(response.streaming_content))  # type: ignore[arg-type]
            response.headers["Content-Encoding"] = "gzip"
            del response.headers["Content-Length"]
        return response


def make_first(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Return the blocks with the first of them made, so that what fails before it is an error and no short file."""
    first = next(blocks, b"")
    return chain([first], blocks)


def compress(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks as one gzip member; an error leaves it without its end, which every reader refuses."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_FORMAT)
    pending = bytearray()
    for block in blocks:
        pending += compressor.compress(block)
        if len(pending) >= BLOCK_BYTES:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending + compressor.flush())
