"""What the API asks of whoever is asking: a name, the sources they may see, and whether they may do a thing."""

from collections.abc import Callable
from typing import Any, Protocol

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.module_loading import import_string
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.request import Request

from usage.models import Source


class Access(Protocol):
    """The rights behind one request; `request.auth` is one (portal/authentication.py makes them).

    `source_ids`: ids of the only sources that may be seen, None for every source.
    """

    @property
    def name(self) -> str:
        """Who asks, as it is written into the ledger."""

    @property
    def source_ids(self) -> frozenset[int] | None:
        """The row scope."""

    def refusal(self, scope: str, permission: str) -> str:
        """Return why the thing that needs `scope` (of a token) or `permission` (of staff) is refused, or ''."""


class RightsFirst:
    """For views that judge who asks before what is asked for: a stranger learns nothing, not even of mistakes."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Let in or refuse, and only then look at the request."""
        view: Any = self
        view.perform_authentication(request)
        view.check_permissions(request)
        method = (request.method or "").lower()
        if method != "options" and not (method in view.http_method_names and hasattr(view, method)):
            raise MethodNotAllowed(request.method or "")  # before the format, which may be one of other methods only
        super().initial(request, *args, **kwargs)  # type: ignore[misc]

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer OPTIONS with nothing but the methods there are, in Allow; raises MethodNotAllowed for any other."""
        if request.method != "OPTIONS":
            raise MethodNotAllowed(request.method or "")
        answer = HttpResponse(status=204)
        del answer["Content-Type"]
        return answer

    @property
    def allowed_methods(self) -> list[str]:
        """The methods of the address, and the one that asks for them."""
        return [*super().allowed_methods, "OPTIONS"]  # type: ignore[misc]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Have an answer kept by nobody but who asked, and asked again before each use: an ETag makes that cheap."""
        answer: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if not answer.has_header("Cache-Control"):
            patch_cache_control(answer, private=True, no_cache=True)
        patch_vary_headers(answer, ("Accept", "Authorization", "Cookie"))
        return answer


def visible_sources(request: Request) -> QuerySet[Source]:
    """Return the sources that the request may know of."""
    return in_scope(Source.objects.all(), request, "id")


def access_of(request: Request) -> Access | None:
    """Return the rights behind a request, None for a stranger."""
    access: Any = request.auth  # DRF's own type for it is its token model
    return access  # type: ignore[no-any-return]


def in_scope(queryset: QuerySet[Any], request: Request, path: str) -> QuerySet[Any]:
    """Leave out rows of sources that the request may not know of; `path` leads from a row to its source's id."""
    access = access_of(request)
    if access is None:  # only where a schema is drawn up, without anyone asking
        return queryset.none()
    if access.source_ids is None:
        return queryset
    return queryset.filter(**{f"{path}__in": sorted(access.source_ids)})


def staff_scope(request: HttpRequest) -> frozenset[int] | None:
    """Return the ids of the only sources that a member of staff may see on the admin's pages, None for all.

    The setting STAFF_SCOPE names the function of a user that knows; it is asked once for a request.
    """
    noted: Any = request
    if not hasattr(noted, "staff_source_ids"):
        known: Callable[[Any], frozenset[int] | None] = import_string(settings.STAFF_SCOPE)
        noted.staff_source_ids = known(noted.user)
    found: frozenset[int] | None = noted.staff_source_ids
    return found


def in_staff_scope(queryset: QuerySet[Any], request: HttpRequest, path: str) -> QuerySet[Any]:
    """Leave out rows of sources that a member of staff may not know of; `path` leads to a source's id."""
    only = staff_scope(request)
    return queryset if only is None else queryset.filter(**{f"{path}__in": sorted(only)})
