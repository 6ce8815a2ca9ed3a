"""Access to the API: the rights of a request, its row scope, and the views' checks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.module_loading import import_string
from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from usage.directory.access import NO_PEOPLE, PERMISSION, SCOPE, NameAccess
from usage.models import Source

if TYPE_CHECKING:  # rest_framework.views itself imports this module, through the settings
    from rest_framework.views import APIView


class Access(Protocol):
    """The rights of one request, in `request.auth`; the project's authentication classes make them.

    `source_ids`: the ids of the only sources that may be seen, None for all sources.
    """

    @property
    def name(self) -> str:
        """The name of the requester, as runs and acceptances record it."""

    @property
    def source_ids(self) -> frozenset[int] | None:
        """The row scope."""

    def refusal(self, scope: str, permission: str) -> str:
        """Return why what needs `scope` (of a token) or `permission` (of staff) is refused, or ''."""


class IsKnown(BasePermission):
    """Lets in every request with a token or a session, whatever its rights: for the schema and unknown addresses."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return get_access(request) is not None


class HasScope(IsKnown):
    """Lets in tokens with the view's `scope` and staff with its `permission`; a view without them is closed."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return False without any rights; raises PermissionDenied that names the missing right."""
        access = get_access(request)
        if access is None:
            return False
        scope, permission = getattr(view, "scope", ""), getattr(view, "permission", "")
        refusal = access.refusal(scope, permission) if scope and permission else "Nobody may do this."
        if refusal:
            raise PermissionDenied(refusal)
        return True


class AuthorizeFirstMixin:
    """Checks the rights before the rest of a request: without them, a client gets no other error."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check rights and method, then let DRF check the format and the rest."""
        view: Any = self
        view.perform_authentication(request)
        view.check_permissions(request)
        method = (request.method or "").lower()
        if method != "options" and not (method in view.http_method_names and hasattr(view, method)):
            raise MethodNotAllowed(request.method or "")  # before the format, which another method may have
        super().initial(request, *args, **kwargs)  # type: ignore[misc]

    def http_method_not_allowed(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer OPTIONS with an empty 204 and Allow; `initial` has refused every other method without a handler."""
        response = HttpResponse(status=204)
        del response["Content-Type"]
        return response

    @property
    def allowed_methods(self) -> list[str]:
        return [*super().allowed_methods, "OPTIONS"]  # type: ignore[misc]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Let only the client cache a response, and revalidate it before each use; its ETag makes that cheap."""
        final: HttpResponseBase = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        if not final.has_header("Cache-Control"):
            patch_cache_control(final, private=True, no_cache=True)
        patch_vary_headers(final, ("Accept", "Authorization", "Cookie"))
        return final


def get_access(request: Request) -> Access | None:
    """Return the rights of a request, None if it has none."""
    access: Any = request.auth  # DRF's own type for it is its token model
    return access  # type: ignore[no-any-return]


def get_row_scope(request: Request) -> frozenset[int] | None:
    """Return the ids of the only sources that may be seen, None for all."""
    access = get_access(request)
    return access.source_ids if access is not None else frozenset()


def get_visible_sources(request: Request) -> QuerySet[Source]:
    """Return the sources within the request's row scope."""
    return filter_by_scope(Source.objects.all(), request, "id")


def filter_by_scope(queryset: QuerySet[Any], request: Request, path: str) -> QuerySet[Any]:
    """Return the rows within the request's row scope; `path` leads from a row to its source's id."""
    access = get_access(request)
    if access is None:  # only while the schema is generated
        return queryset.none()
    if access.source_ids is None:
        return queryset
    return queryset.filter(**{f"{path}__in": sorted(access.source_ids)})


def get_name_access(request: Request) -> NameAccess:
    """Return which names a request to the API may see."""
    access = get_access(request)
    return NO_PEOPLE if access is None else NameAccess(access.refusal(SCOPE, PERMISSION))


def get_staff_name_access(request: HttpRequest) -> NameAccess:
    """Return which names the signed-in member of staff may see on the admin's pages."""
    return NameAccess("" if request.user.has_perm(PERMISSION) else f"You lack the permission {PERMISSION}.")


def get_staff_scope(request: HttpRequest) -> frozenset[int] | None:
    """Return the ids of the only sources that a staff member may see on the admin's pages, None for all sources.

    The setting STAFF_SCOPE names the function that computes it for a user; it runs once per request.
    """
    cached: Any = request
    if not hasattr(cached, "staff_source_ids"):
        compute: Callable[[Any], frozenset[int] | None] = import_string(settings.STAFF_SCOPE)
        cached.staff_source_ids = compute(cached.user)
    source_ids: frozenset[int] | None = cached.staff_source_ids
    return source_ids


def filter_by_staff_scope(queryset: QuerySet[Any], request: HttpRequest, path: str) -> QuerySet[Any]:
    """Return the rows within the staff member's row scope; `path` leads from a row to its source's id."""
    source_ids = get_staff_scope(request)
    return queryset if source_ids is None else queryset.filter(**{f"{path}__in": sorted(source_ids)})
