"""The Explore page, its files, and the views that people save of it."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import ValidationError

from usage.access import in_staff_scope, staff_scope
from usage.bounded import TookTooLong
from usage.explore import files, saved
from usage.explore.address import FORM, Said, changed, from_form, pairs, written
from usage.explore.asking import PATIENCE_SECONDS, Answer, Problems, ask, in_words
from usage.explore.charts import MOST_INTERVALS, charts_of
from usage.explore.form import form_of
from usage.explore.kinds import Kind, offered
from usage.explore.lines import lines_of
from usage.explore.ranges import USUAL, range_of
from usage.explore.table import table_of
from usage.explore.words import worth_of
from usage.filters.fields import UTC_ZONE
from usage.models import SavedView
from usage.trust import reporting

TOO_LONG = (
    f"This question takes longer than the {PATIENCE_SECONDS} seconds that a page may take, so it was stopped. "
    "A shorter range, a single source or fewer groups make it faster; so does grouping by whole days and by columns "
    "that are added up beforehand, such as project, type or class."
)


def addresses(guard: Callable[..., Any]) -> list[URLPattern]:
    """Return the page's addresses; `guard` lets in staff only."""
    return [
        path("explore/", guard(require_safe(explore)), name="explore"),
        path("explore/export/", guard(require_safe(export)), name="explore_export"),
        path("explore/views/", guard(require_POST(save)), name="explore_save"),
        path("explore/views/<int:pk>/", guard(require_POST(change)), name="explore_view"),
    ]


def explore(request: HttpRequest) -> HttpResponse:
    """Show the question of the address and its answer; a form's fields and no question are sent to an address."""
    kinds = kinds_of(request)
    if not request.GET:
        return to(usual(request, kinds))
    if FORM in request.GET:
        kind = kinds.get(request.GET.get("kind", "")) or next(iter(kinds.values()))
        return to([("kind", kind.name), *from_form(request.GET, kind)])
    kind, data, problems = asked_for(request, kinds)
    answer, too_long = None, False
    try:
        answer = None if problems else ask(kind, data, staff_scope(request))
    except ValidationError as error:
        problems = in_words(error.detail)
    except TookTooLong:
        too_long = True
    context = {
        **admin.site.each_context(request),
        "title": "Explore",
        **question_context(request, kinds, kind, data, problems),
        **(answer_context(answer, kind, [("kind", kind.name), *pairs(data)]) if answer else {}),
        "too_long": TOO_LONG if too_long else "",
    }
    return TemplateResponse(request, "explore/page.html", context, status=400 if problems else 200)


def kinds_of(request: HttpRequest) -> dict[str, Kind]:
    """Return the kinds that this person may see; raises PermissionDenied where there is none."""
    kinds = offered(request)
    if not kinds:
        raise PermissionDenied
    return kinds


def to(said: Said) -> HttpResponse:
    """Send to the address of a question."""
    return redirect(f"{reverse('admin:explore')}?{written(said)}")


def asked_for(request: HttpRequest, kinds: dict[str, Kind]) -> tuple[Kind, QueryDict, Problems]:
    """Return the kind of an address, its other parameters, and what is wrong with the kind."""
    data = request.GET.copy()
    name = data.get("kind", "")
    data.pop("kind", None)
    if name in kinds and len(request.GET.getlist("kind")) == 1:
        return kinds[name], data, {}
    return next(iter(kinds.values())), data, {"kind": [f"“{name}” is not one of: {', '.join(kinds)}."]}


def usual(request: HttpRequest, kinds: dict[str, Kind]) -> Said:
    """Return what is asked where nothing is: the last 30 days of the first kind that there is usage of, by day.

    The days are those of the sources, where all have the same: then the numbers are added up beforehand.
    """
    single = [kind for kind in kinds.values() if kind.model]
    kind = next((kind for kind in single if in_staff_scope(records(kind), request, "source_id").exists()), single[0])
    zones = {source.time_zone: source.zone for source in reporting(kind.model, None, staff_scope(request))}
    zone = next(iter(zones)) if len(zones) == 1 and kind.shape and kind.shape.smallest != "day" else "UTC"
    first, end = range_of(USUAL, zones.get(zone) or UTC_ZONE)
    said = [("kind", kind.name), ("from", str(first)), ("to", str(end)), ("tz", zone), ("group_by", "day")]
    return [(name, value) for name, value in said if (name, value) != ("tz", "UTC")]


def records(kind: Kind) -> Any:
    """Return all records of a kind."""
    assert kind.model is not None  # noqa: S101 (asked of single kinds only)
    return kind.model.objects.order_by()


def question_context(
    request: HttpRequest, kinds: dict[str, Kind], kind: Kind, data: QueryDict, problems: Problems
) -> dict[str, Any]:
    """Return what the page shows of the question, whether or not there is an answer."""
    said = [("kind", kind.name), *pairs(data)]
    own = reporting(kind.model, None, staff_scope(request))
    query = written(said)
    return {
        "kinds": [(one, one is kind, kind_query(one, said)) for one in kinds.values()],
        "kind": kind,
        "form": form_of(kind, data, sorted(source.slug for source in own), problems),
        "order_by": data.get("order_by", ""),
        "query": query,
        "question": written(pairs(data)),
        "views": saved.views_of(request, query),
        "may": {verb: request.user.has_perm(f"usage.{verb}_savedview") for verb in ("add", "change", "delete")},
        "moving": saved.moving_label(data),
        "api": f"{reverse(kind.api)}?{written(pairs(data))}",
        "list": list_address(kind, data),
        "failed": bool(problems),
        "coverage": coverage_address(request),
        "no_sources": not own,
    }


def kind_query(kind: Kind, said: Said) -> str:
    """Return the query that asks another kind about the same range; a zone only where all of it may be cut by one."""
    zoned = kind.shape is not None and kind.shape.smallest != "day"
    kept = [(name, value) for name, value in said if name in {"from", "to"} or (name == "tz" and zoned)]
    interval = next((value for name, value in said if name == "interval"), "")
    groups = next((value for name, value in said if name == "group_by"), "").split(",")
    interval = interval or next((name for name in groups if name in kind.intervals), "")
    interval = interval if interval in kind.intervals else ""
    asked = [("group_by" if kind.shape else "interval", interval)] if interval else []
    return written([("kind", kind.name), *kept, *asked])


def coverage_address(request: HttpRequest) -> str:
    """Return the address of the calendar of days, '' for who may not open it."""
    return reverse("admin:coverage") if request.user.has_perm("usage.view_sourceday") else ""


def list_address(kind: Kind, data: QueryDict) -> str:
    """Return the address of the records behind the numbers, '' where they are of several tables."""
    if kind.model is None:
        return ""
    filters = [(name, value) for name, value in pairs(data) if name in kind.understood]
    return f"{reverse(f'admin:usage_{kind.model._meta.model_name}_changelist')}?{written(filters)}"


def answer_context(answer: Answer, kind: Kind, said: Said) -> dict[str, Any]:
    """Return what the page shows of the answer."""
    lines = lines_of(answer)
    charts = charts_of(answer, lines)
    return {
        "answer": answer,
        "worth": worth_of(answer.said["meta"]),
        "table": table_of(lines, kind, said),
        "charts": charts,
        "charts_json": json.dumps(charts, separators=(",", ":")),
        "too_many_intervals": len(answer.bounds) > MOST_INTERVALS + 1,
        "empty": not any(line["records"] for line in lines.totals if "records" in line) and not lines.results,
        "exports": [
            (label, f"{reverse('admin:explore_export')}?{changed(said, format=ending)}")
            for label, ending in (("CSV", "csv"), ("Excel", "xlsx"))
        ],
    }


def export(request: HttpRequest) -> HttpResponse:
    """Return the whole answer as a file; where there is none, why, in a sentence."""
    kind, data, problems = asked_for(request, kinds_of(request))
    ending = data.get("format", "")
    data.pop("format", None)
    if ending not in {"csv", "xlsx"}:
        problems = {**problems, "format": ["csv and xlsx are there."]}
    answer = None
    try:
        answer = None if problems else ask(kind, data, staff_scope(request), days=False)
    except ValidationError as error:
        problems = in_words(error.detail)
    except TookTooLong:
        return HttpResponse(TOO_LONG, status=503, content_type="text/plain; charset=utf-8")
    if answer is None:
        text = "\n".join(f"{name}: {' '.join(texts)}" for name, texts in problems.items())
        return HttpResponse(text, status=400, content_type="text/plain; charset=utf-8")
    said = pairs(data)
    name = files.file_name(answer, said, ending)
    if ending == "csv":
        return HttpResponse(files.as_csv(answer), content_type=files.CSV, headers=files.headers(answer, name))
    page = request.build_absolute_uri(f"{reverse('admin:explore')}?{written([('kind', kind.name), *said])}")
    content = files.as_xlsx(answer, said, page)
    return HttpResponse(content, content_type=files.XLSX, headers=files.headers(answer, name))


def save(request: HttpRequest) -> HttpResponse:
    """Keep the question of the page under a name."""
    require(request, "usage.add_savedview")
    kinds = kinds_of(request)
    kind = kinds.get(request.POST.get("kind", ""))
    question = request.POST.get("question", "")
    if kind is None:
        raise PermissionDenied
    back = f"{reverse('admin:explore')}?{written([('kind', kind.name), *pairs(QueryDict(question))])}"
    try:
        data = saved.question_saved(request, kind, question)
    except ValidationError:
        messages.error(request, "This question cannot be asked, so it was not saved; mend it first.")
        return redirect(back)
    owner: Any = request.user  # staff, so nobody anonymous
    form = saved.NameForm(request.POST, owner=owner, instance=SavedView(owner=owner, kind=kind.name))
    if not form.is_valid():
        messages.error(request, first_mistake(form))
        return redirect(back)
    form.instance.question = written(pairs(data))
    form.instance.moving_range = saved.moving_range(data) if form.cleaned_data["moving"] else ""
    view = form.save()
    messages.success(request, f"“{view}” is saved; you find it under Saved views.")
    return redirect(back)


def change(request: HttpRequest, pk: int) -> HttpResponse:
    """Rename, share or delete a view of one's own."""
    view = get_object_or_404(SavedView, pk=pk, owner=request.user.pk)
    back = f"{reverse('admin:explore')}?{written(pairs(QueryDict(request.POST.get('back', ''))))}"
    if "delete" in request.POST:
        require(request, "usage.delete_savedview")
        view.delete()
        messages.success(request, f"“{view}” is deleted.")
        return redirect(back)
    require(request, "usage.change_savedview")
    form = saved.NameForm(request.POST, owner=request.user, instance=view)
    if form.is_valid():
        form.save()
        messages.success(request, f"“{view}” is saved.")
    else:
        messages.error(request, first_mistake(form))
    return redirect(back)


def require(request: HttpRequest, permission: str) -> None:
    """Raise PermissionDenied for who lacks a permission."""
    if not request.user.has_perm(permission):
        raise PermissionDenied


def first_mistake(form: saved.NameForm) -> str:
    """Return one sentence about what is wrong."""
    return str(next(iter(form.errors.values()))[0])
