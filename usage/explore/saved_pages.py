"""The page of saved views, the permalink of a view, and the preview of the view that is pinned to the overview."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from usage.api.access import get_staff_name_access, get_staff_scope
from usage.explore import saved
from usage.explore.kinds import KINDS
from usage.explore.params import encode
from usage.explore.preview import Preview, build_preview
from usage.explore.query import ask, build_filterset
from usage.models import PinnedView, SavedView
from usage.slots import SlotsTaken, take_slot_if_large
from usage.timeouts import QueryTimeout

View = Callable[..., HttpResponse]
SAFE: Final = frozenset({"GET", "HEAD"})


def build_view_urls(wrap: Callable[..., Any], save: View, change: View, explore: View) -> list[URLPattern]:
    """Return the addresses of saved views; `explore` shows a question, `save` and `change` handle posts."""

    def show_or_save(request: HttpRequest) -> HttpResponse:
        return list_saved_views(request) if request.method in SAFE else require_POST(save)(request)

    def open_or_change(request: HttpRequest, pk: int) -> HttpResponse:
        return open_view(request, pk, explore) if request.method in SAFE else require_POST(change)(request, pk)

    return [
        path("explore/views/", wrap(show_or_save), name="explore_views"),
        path("explore/views/", wrap(show_or_save), name="explore_save"),
        path("explore/views/<int:pk>/", wrap(open_or_change), name="explore_view"),
        path("explore/views/<int:pk>/pin/", wrap(require_POST(pin_view)), name="explore_view_pin"),
        path("explore/views/<int:pk>/preview/", wrap(require_safe(preview_view)), name="explore_view_preview"),
    ]


def list_saved_views(request: HttpRequest) -> HttpResponse:
    """Show the views that this person may open."""
    require_permission(request, "usage.view_savedview")
    views = saved.list_views(request, "")
    context = {
        **admin.site.each_context(request),
        "title": "Saved views",
        "own": [view for view in views if view.is_own],
        "shared": [view for view in views if not view.is_own],
        "pinned": PinnedView.objects.filter(user=request.user.pk).values_list("view_id", flat=True).first(),
        "may": {verb: request.user.has_perm(f"usage.{verb}_savedview") for verb in ("change", "delete")},
    }
    return TemplateResponse(request, "explore/views.html", context)


def open_view(request: HttpRequest, pk: int, explore: View) -> HttpResponse:
    """Show the answer of today to a view's question, at its permalink: a relative range stays relative."""
    view = get_view(request, pk)
    if request.GET:  # a link of this page to another question
        return redirect(f"{reverse('admin:explore')}?{request.GET.urlencode()}")
    explore_request: Any = request  # Explore reads the question from the request's GET
    explore_request.GET = QueryDict(encode(saved.get_params(view)))
    response = explore(explore_request)
    if isinstance(response, TemplateResponse) and response.context_data is not None:
        response.context_data |= {
            "title": view.name,
            "saved_view": saved.build_listed_view(view, is_own=view.owner_id == request.user.pk, current=""),
        }
    return response


def pin_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Pin a view to this person's overview in the place of another, or unpin it."""
    view = get_view(request, pk)
    if "unpin" in request.POST:
        PinnedView.objects.filter(user=request.user.pk, view=view).delete()
        messages.success(request, f"“{view}” is no longer on your overview.")
    else:
        owner: Any = request.user  # staff, so never anonymous
        PinnedView.objects.update_or_create(user=owner, defaults={"view": view})
        messages.success(request, f"“{view}” is on your overview.")
    return redirect("admin:explore_views")


def preview_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the beginning of a view's answer, for the overview."""
    view = get_view(request, pk)
    preview, problem = None, ""
    try:
        preview = compute_preview(request, view)
    except ValidationError:
        problem = "This view has a mistake; open it to see which."
    except QueryTimeout:
        problem = "This view takes too long for the overview. Open it, and choose a shorter range."
    except SlotsTaken as busy:
        problem = str(busy.detail)
    context = {"view": view, "preview": preview, "problem": problem}
    return TemplateResponse(request, "explore/preview.html", context)


def compute_preview(request: HttpRequest, view: SavedView) -> Preview:
    """Return the beginning of the answer; raises ValidationError, QueryTimeout and SlotsTaken."""
    params, scope, kind = saved.get_params(view)[1:], get_staff_scope(request), KINDS[view.kind]
    filterset = build_filterset(kind, QueryDict(encode(params)), scope, get_staff_name_access(request))
    with take_slot_if_large() as take_slot:
        return build_preview(ask(kind, filterset, scope, take_slot, days=True))


def get_pinned(request: HttpRequest) -> saved.ListedView | None:
    """Return the view on this person's overview; None without one, or where they may no longer open it."""
    if not request.user.has_perm("usage.view_savedview"):
        return None
    pinned = PinnedView.objects.filter(user=request.user.pk).select_related("view__owner").first()
    if pinned is None or not saved.ViewAccess.build(request).may_open(pinned.view):
        return None
    return saved.build_listed_view(pinned.view, is_own=pinned.view.owner_id == request.user.pk, current="")


def get_view(request: HttpRequest, pk: int) -> SavedView:
    """Return a view that this person may open; raises Http404 for any other."""
    require_permission(request, "usage.view_savedview")
    view = get_object_or_404(SavedView.objects.select_related("owner"), pk=pk)
    if not saved.ViewAccess.build(request).may_open(view):
        raise Http404
    return view


def require_permission(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied for a person without the permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied
