"""The page of saved views, their permalinks and changes, and the preview of the view that is pinned to the overview."""

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from usage.explore import saved
from usage.explore.kinds import SUMMARY_KINDS, require_kinds
from usage.explore.params import build_url, encode, list_params
from usage.explore.preview import Preview, build_preview
from usage.explore.query import ask, build_filterset
from usage.explore.views import explore
from usage.models import PinnedView, SavedView
from usage.slots import SlotsTaken, take_slot_if_large
from usage.timeouts import QueryTimeout

SAFE: Final = frozenset({"GET", "HEAD"})


def show_or_save(request: HttpRequest) -> HttpResponse:
    """Show the views that this person may open, or save one."""
    return list_saved_views(request) if request.method in SAFE else require_POST(save_view)(request)


def open_or_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the answer of a view, or change the view."""
    return open_view(request, pk) if request.method in SAFE else require_POST(change_view)(request, pk)


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


def open_view(request: HttpRequest, pk: int) -> HttpResponse:
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


def save_view(request: HttpRequest) -> HttpResponse:
    """Save the question of the page under a name."""
    require_permission(request, "usage.add_savedview")
    kind = require_kinds(request).get(request.POST.get("kind", ""))
    question = request.POST.get("question", "")
    if kind is None:
        raise PermissionDenied
    url = build_url([("kind", kind.name), *list_params(QueryDict(question))])
    try:
        data = saved.parse_question(request, kind, question)
    except ValidationError:
        messages.error(request, "This view has invalid parameters, so it was not saved. Correct them first.")
        return redirect(url)
    owner: Any = request.user  # staff, so never anonymous
    form = saved.SavedViewForm(request.POST, owner=owner, instance=SavedView(owner=owner, kind=kind.name))
    if not form.is_valid():
        messages.error(request, get_first_error(form))
        return redirect(url)
    form.instance.question = encode(list_params(data))
    moving = form.cleaned_data["moving"]
    form.instance.moving_range = moving if moving in saved.list_moving_ranges(data) else ""
    view = form.save()
    messages.success(request, f"“{view}” is saved; you find it under Saved views.")
    return redirect(url)


def change_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename, share or delete a view of the person."""
    view = get_object_or_404(SavedView, pk=pk, owner=request.user.pk)
    back = list_params(QueryDict(request.POST.get("back", "")))
    url = build_url(back) if back else reverse("admin:explore_views")
    if "delete" in request.POST:
        require_permission(request, "usage.delete_savedview")
        view.delete()
        messages.success(request, f"“{view}” is deleted.")
        return redirect(url)
    require_permission(request, "usage.change_savedview")
    form = saved.SavedViewForm(request.POST, owner=request.user, instance=view)
    if form.is_valid():
        form.save()
        messages.success(request, f"“{view}” is saved.")
    else:
        messages.error(request, get_first_error(form))
    return redirect(url)


def get_first_error(form: saved.SavedViewForm) -> str:
    """Return the first error of an invalid form."""
    return str(next(iter(form.errors.values()))[0])


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
    params, kind = saved.get_params(view)[1:], SUMMARY_KINDS[view.kind]
    filterset = build_filterset(kind, QueryDict(encode(params)), request)
    with take_slot_if_large() as take_slot:
        return build_preview(ask(kind, filterset, take_slot))


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
