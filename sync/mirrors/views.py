"""`/mirror/<source>/<the vendor's own path>`: the portal's records in the vendor's own API.

A portal token with the scope `mirror:read` comes in the vendor's own Authorization header, whatever its scheme. A
refusal has the vendor's own format and is the same for a missing source and for a source that the token may not see.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.validators import slug_re
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException

from sync.api_messages import APIRequest, APIResponse
from sync.vendors import mirrors, readers
from sync.vendors.base import VendorMirror
from usage.api.access import Access
from usage.api.errors import build_problem
from usage.data_quality import DataQuality, assess
from usage.exports.response import build_quality_headers
from usage.models import Source
from usage.snapshot import consistent_snapshot

MAX_BODY_BYTES: Final = 2**20
NOT_COMPLETE: Final = "The portal does not hold all of these days completely."


class MirrorError(Exception):
    """A request that is answered with an error in the vendor's format."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@csrf_exempt
def serve_mirror(request: HttpRequest, slug: str, path: str) -> HttpResponse:
    """Answer one request for a source as its vendor would."""
    vendor, mirror = find_mirror(path)
    if mirror is None:
        return build_problem(404, f"No vendor's API that is mirrored here has the path {path}.")
    try:
        source = get_source(authenticate(request), slug, vendor)
        api_request = parse_request(request, path)
    except MirrorError as error:
        return build_http_response(mirror.build_error(error.status, str(error)), error.headers)
    # One snapshot for the records and their quality: a day loaded in between would be called complete.
    with consistent_snapshot():
        return add_quality(mirror, source, mirror(source).respond(api_request))


def build_error_response(path: str, status: int, message: str) -> HttpResponse | None:
    """Return an error in the format of the vendor whose path it is, None for an unknown path."""
    mirror = find_mirror(path)[1]
    return build_http_response(mirror.build_error(status, message)) if mirror else None


def find_mirror(path: str) -> tuple[str, type[VendorMirror] | None]:
    """Return the vendor that has the path, and its mirror."""
    matches = ((vendor, mirror) for vendor, mirror in mirrors().items() if path in mirror.paths)
    return next(matches, ("", None))


def authenticate(request: HttpRequest) -> Access:
    """Return the rights of the request's token; raises MirrorError.

    The setting MIRROR_AUTHENTICATION names the function that knows tokens and raises DRF's exceptions.
    """
    get_access: Callable[[HttpRequest], Access] = import_string(settings.MIRROR_AUTHENTICATION)
    try:
        return get_access(request)
    except APIException as error:
        wait = getattr(error, "wait", None)
        headers = {} if wait is None else {"Retry-After": str(wait)}
        raise MirrorError(error.status_code, str(error.detail), **headers) from None


def get_source(access: Access, slug: str, vendor: str) -> Source:
    """Return the vendor's source with this slug; raises MirrorError where it is missing or may not be read."""
    sources = Source.objects.filter(slug=slug, vendor=vendor)
    if access.source_ids is not None:
        sources = sources.filter(pk__in=access.source_ids)
    source = sources.first() if slug_re.fullmatch(slug) else None
    if source is None:
        raise MirrorError(404, f"There is no source {slug} of this vendor.")
    if not source.zone_exists:
        raise MirrorError(503, f"The time zone of {slug} is unknown here, so its days have no bounds.")
    return source


def parse_request(request: HttpRequest, path: str) -> APIRequest:
    """Return the request as mirrors take it; raises MirrorError for a body that is too large or damaged."""
    try:
        body = decompress(request.body, request.headers.get("Content-Encoding", "identity").lower())
    except RequestDataTooBig:
        raise MirrorError(413, "The body is too large.") from None
    return APIRequest(
        request.method or "",
        path,
        parse_qs(request.META.get("QUERY_STRING", ""), keep_blank_values=True),
        {name.lower(): value for name, value in request.headers.items()},
        body,
    )


def decompress(body: bytes, encoding: str) -> bytes:
    """Return a body without its gzip; raises MirrorError for another encoding, a damaged body or a bomb."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise MirrorError(415, "A body may be sent as it is or as gzip.")
    decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = decompressor.decompress(body, MAX_BODY_BYTES)
    except zlib.error:
        raise MirrorError(400, "The body is not gzip.") from None
    if decompressor.unconsumed_tail:
        raise MirrorError(413, "The body is too large.")
    if not decompressor.eof:
        raise MirrorError(400, "The body ends before its gzip does.")
    return plain


def add_quality(mirror: type[VendorMirror], source: Source, response: APIResponse) -> HttpResponse:
    """Return the response with headers on its data quality, or the vendor's 503 for incomplete days.

    The 503 is only for sources that are set to refuse incomplete days.
    """
    if response.span is None:
        return build_http_response(response)
    quality = assess_span(source, response)
    if source.mirror_refuses_gaps and not quality.complete:
        return build_http_response(mirror.build_error(503, NOT_COMPLETE))
    return build_http_response(response, build_quality_headers(quality.meta()))


def assess_span(source: Source, response: APIResponse) -> DataQuality:
    """Return the data quality of the days in a response."""
    assert response.span is not None  # noqa: S101
    start, end = response.span
    kind = readers()[source.vendor].kind
    only = frozenset([source.pk])
    return assess(kind, source_ids=only, start=start, end=end, zone=source.zone, row_scope=None)


def build_http_response(response: APIResponse, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return a mirror's response as Django's, with `headers` beside its own."""
    http_response = HttpResponse(response.body, status=response.status, content_type=response.content_type)
    for name, value in {**response.headers, **(headers or {})}.items():
        http_response.headers[name] = value
    http_response.headers["Cache-Control"] = "private, no-store"
    return http_response
