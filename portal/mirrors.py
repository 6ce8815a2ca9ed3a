"""Mirrors: `/mirror/<source>/<the vendor's own path>`, answered as the vendor would, from the portal's records.

A portal token with the scope `mirror:read` comes in the vendor's own header, whatever the scheme before it. Who
has none is told so in the shape of the vendor whose path it is, so that nobody learns which sources there are.
"""

import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from django.core.exceptions import RequestDataTooBig
from django.core.validators import slug_re
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from portal.authentication import NOT_ACCEPTED, TokenAccess, token_access
from portal.models import Scope
from portal.problems import problem
from portal.throttling import TooManyRequests, count_failure, require_turn
from sync.vendors import mirrors, readers
from sync.vendors.mirror import Answered, Asked, VendorMirror
from usage.exports import one_state
from usage.models import Source
from usage.trust import Trust, trust_of

LARGEST_BODY: Final = 2**20
PERMISSION: Final = ""  # no session is taken here, only tokens


class Refused(Exception):
    """A request that is answered with an error of the vendor's shape."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@csrf_exempt
def mirror(request: HttpRequest, slug: str, path: str) -> HttpResponse:
    """Answer one request for a source as its vendor would."""
    vendor, kind = vendor_of(path)
    if kind is None:
        return problem(404, f"No vendor's API that is mirrored here has the path {path}.")
    try:
        source = allowed_source(request, slug, vendor)
        asked = asked_of(request, path)
    except Refused as refused:
        return sent(kind.refuse(refused.status, str(refused)), refused.headers)
    # One state for the records and for what is said of them: a day loaded in between would be called complete.
    with one_state(DEFAULT_DB_ALIAS):
        return trusted(kind, source, kind(source).answer(asked))


def vendor_of(path: str) -> tuple[str, type[VendorMirror] | None]:
    """Return the vendor whose own path it is, and its mirror."""
    found = ((vendor, kind) for vendor, kind in mirrors().items() if path in kind.paths)
    return next(found, ("", None))


def allowed_source(request: HttpRequest, slug: str, vendor: str) -> Source:
    """Return the source of that name if the request's token may read it; raises Refused."""
    try:
        access = counted_access(request)
    except TooManyRequests as refused:
        raise Refused(429, str(refused.detail), **{"Retry-After": str(refused.wait)}) from None
    refusal = access.refusal(Scope.MIRROR_READ, PERMISSION)
    if refusal:
        raise Refused(403, refusal)
    found = Source.objects.filter(slug=slug, vendor=vendor)
    if access.source_ids is not None:
        found = found.filter(pk__in=access.source_ids)
    source = found.first() if slug_re.fullmatch(slug) else None
    if source is None:
        raise Refused(404, f"There is no source {slug} of this vendor.")
    return source


def counted_access(request: HttpRequest) -> TokenAccess:
    """Return the rights of the token behind any scheme of the header; raises Refused, TooManyRequests."""
    secret = request.headers.get("Authorization", "").rpartition(" ")[2]
    access = token_access(secret) if secret else None
    if access is None:
        count_failure(request)
        raise Refused(401, NOT_ACCEPTED if secret else "Send a portal token in the Authorization header.")
    require_turn(request, f"token:{access.token.prefix}", access.token.rate)
    return access


def asked_of(request: HttpRequest, path: str) -> Asked:
    """Return the request as mirrors take it; raises Refused for a body that is too large or not what it says."""
    try:
        body = unpacked(request.body, request.headers.get("Content-Encoding", "identity").lower())
    except RequestDataTooBig:
        raise Refused(413, "The body is too large.") from None
    return Asked(
        request.method or "",
        path,
        parse_qs(request.META.get("QUERY_STRING", ""), keep_blank_values=True),
        {name.lower(): value for name, value in request.headers.items()},
        body,
    )


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return a body without its gzip; raises Refused for another encoding, a damaged body or a bomb."""
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise Refused(415, "A body may be sent as it is or as gzip.")
    try:
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
        plain = unzip.decompress(body, LARGEST_BODY)
    except zlib.error:
        raise Refused(400, "The body is not gzip.") from None
    if unzip.unconsumed_tail:
        raise Refused(413, "The body is too large.")
    if not unzip.eof:
        raise Refused(400, "The body ends before its gzip does.")
    return plain


def trusted(kind: type[VendorMirror], source: Source, answered: Answered) -> HttpResponse:
    """Send an answer with a word on how complete it is, or the vendor's 503 where the source wants that instead."""
    if answered.span is None:
        return sent(answered)
    trust = trust_of_span(source, answered)
    if source.mirror_refuses_gaps and not trust.complete:
        return sent(kind.refuse(503, "The portal does not hold all of these days completely yet."))
    response = sent(answered)
    response.headers["Portal-Complete"] = str(trust.complete).lower()
    if trust.complete_through is not None:
        response.headers["Portal-Complete-Through"] = trust.complete_through.isoformat()
    return response


def trust_of_span(source: Source, answered: Answered) -> Trust:
    """Return how far the days can be trusted that an answer speaks of."""
    assert answered.span is not None  # noqa: S101
    start, end = answered.span
    only = frozenset([source.pk])
    kind = readers()[source.vendor].kind
    return trust_of(kind, source_ids=only, start=start, end=end, zone=source.zone, row_scope=None)


def sent(answered: Answered, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Return an answer as Django sends it, with `headers` beside its own."""
    response = HttpResponse(answered.body, status=answered.status, content_type=answered.content_type)
    for name, value in {**answered.headers, **(headers or {})}.items():
        response.headers[name] = value
    response.headers["Cache-Control"] = "private, no-store"
    return response
