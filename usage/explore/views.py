"""The Explore page and its files."""

import json
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from rest_framework.exceptions import ValidationError

from usage.api.access import filter_by_staff_scope, get_staff_scope
from usage.data_quality import get_reporting_sources
from usage.datetimes import UTC_ZONE, get_shared_zone
from usage.explore import files, saved
from usage.explore.baselines import list_baselines
from usage.explore.charts import MAX_INTERVALS, build_charts
from usage.explore.form import build_form
from usage.explore.kinds import SummaryKind, require_kinds
from usage.explore.notes import add_notes
from usage.explore.pages import MAX_PAGE, PAGE, build_page_links, cut_page
from usage.explore.params import (
    IS_FORM,
    Params,
    build_url,
    encode,
    get_values,
    get_zone,
    list_params,
    parse_form,
    replace_params,
)
from usage.explore.quality import describe_answer_quality
from usage.explore.query import (
    PATIENCE_SECONDS,
    Answer,
    Problems,
    ask,
    build_filterset,
    get_problems,
    list_totals_notes,
)
from usage.explore.rows import build_rows, get_unit
from usage.explore.steps import Question
from usage.explore.table import build_table
from usage.explore.title import build_title, describe_filters, list_question_chips
from usage.exports import ExportStream
from usage.exports.formats.csv import parse_bom
from usage.exports.response import build_headers
from usage.param_values import parse_count
from usage.ranges import DEFAULT_RANGE, RANGES, RangeMenu, build_range_menu, get_range
from usage.slots import SlotsTaken, hold_slot, take_slot_if_large
from usage.timeouts import QueryTimeout
from usage.units import explain_units

TOO_LONG = (
    f"This question takes longer than the {PATIENCE_SECONDS} seconds that a page may take, so it was stopped. "
    "A shorter range, a single source or fewer groups make it faster; so does grouping by whole days and by columns "
    "that are added up beforehand, such as project, type or class."
)


def explore(request: HttpRequest) -> HttpResponse:
    """Show the question of the address and its answer; a submitted form and no question redirect to an address."""
    kinds = require_kinds(request)
    if not request.GET:
        return redirect(build_url(build_default_params(request, kinds)))
    if IS_FORM in request.GET:
        kind = kinds.get(request.GET.get("kind", "")) or next(iter(kinds.values()))
        return redirect(build_url([("kind", kind.name), *parse_form(request.GET, kind)]))
    kind, data, problems = parse_address(request, kinds)
    page, problems = pop_page(data, problems)
    answer_context: dict[str, Any] = {}
    unanswered = ""
    filterset = build_filterset(kind, data, request)
    try:
        if not problems:
            with take_slot_if_large() as take_slot:
                answer = ask(kind, filterset, take_slot)
                answer_context = build_answer_context(answer, filterset, page)
    except ValidationError as error:
        problems = get_problems(error.detail)
    except QueryTimeout:
        unanswered = TOO_LONG
    except SlotsTaken as busy:
        unanswered = str(busy.detail)
    context = {
        **admin.site.each_context(request),
        "title": "Explore",
        **build_question_context(request, kinds, kind, filterset, problems),
        **answer_context,
        "unanswered": unanswered,
    }
    return TemplateResponse(request, "explore/page.html", context, status=400 if problems else 200)


def pop_page(data: QueryDict, problems: Problems) -> tuple[int, Problems]:
    """Take the number of the page out of an address; return it and the problems."""
    try:
        return parse_count(data.get(PAGE, "1"), MAX_PAGE), problems
    except ValueError as error:
        return 1, {**problems, PAGE: [str(error)]}
    finally:
        data.pop(PAGE, None)


def parse_address(request: HttpRequest, kinds: dict[str, SummaryKind]) -> tuple[SummaryKind, QueryDict, Problems]:
    """Return the kind of an address, its other parameters, and the problems of the kind."""
    data = request.GET.copy()
    name = data.get("kind", "")
    data.pop("kind", None)
    if name in kinds and len(request.GET.getlist("kind")) == 1:
        return kinds[name], data, {}
    return next(iter(kinds.values())), data, {"kind": [f"“{name}” is not one of: {', '.join(kinds)}."]}


def build_default_params(request: HttpRequest, kinds: dict[str, SummaryKind]) -> Params:
    """Return the default question: the last 30 days of the first kind that has records, by day.

    The days are those of the sources' time zone if they share one: then roll-ups have the numbers.
    """
    single = [kind for kind in kinds.values() if kind.model]
    kind = next((kind for kind in single if has_records(request, kind)), single[0])
    sources = get_reporting_sources(kind.model, None, get_staff_scope(request))
    is_cut_by_zones = kind.metrics is not None and kind.metrics.smallest_interval != "day"
    zone = get_shared_zone(source.zone for source in sources) if is_cut_by_zones else UTC_ZONE
    first, end = get_range(DEFAULT_RANGE, zone)
    params = [("kind", kind.name), ("from", str(first)), ("to", str(end)), ("tz", zone.key), ("group_by", "day")]
    return [pair for pair in params if pair != ("tz", "UTC")]


def has_records(request: HttpRequest, kind: SummaryKind) -> bool:
    """Return whether this person may see a record of a single kind."""
    assert kind.model is not None  # noqa: S101 (called for single kinds only)
    return bool(filter_by_staff_scope(kind.model.objects.order_by(), request, "source_id").exists())


def build_question_context(
    request: HttpRequest, kinds: dict[str, SummaryKind], kind: SummaryKind, filterset: Any, problems: Problems
) -> dict[str, Any]:
    """Return what the page shows of the question, whether or not there is an answer."""
    data: QueryDict = filterset.data
    params = [("kind", kind.name), *list_params(data)]
    sources = get_reporting_sources(kind.model, None, get_staff_scope(request))
    query, question, zone = encode(params), Question(kind, params), get_zone(data)
    baselines = list(list_baselines(question, data))
    chips = list_question_chips(question, filterset, problems, baselines)
    return {
        "range": build_range(question, data),
        "chips": chips,
        "question_title": build_title(question),
        "question_details": describe_filters(chips, (data.get("from", ""), data.get("to", "")), zone.key),
        "by_dimension": list(question.list_dimensions()),
        "by_interval": list(question.list_intervals()),
        "baselines": baselines,
        "limits": list(question.list_limits()),
        "uncompared": f"?{question.regroup(question.dimensions, question.interval, compare='')}",
        "month_link": question.build_month_link(zone),
        "kinds": [(choice, choice is kind, build_kind_query(choice, params)) for choice in kinds.values()],
        "kind": kind,
        "form": build_form(kind, data, filterset, sorted(source.slug for source in sources), problems),
        "order_by": data.get("order_by", ""),
        "query": query,
        "question": encode(list_params(data)),
        "views": saved.list_views(request, query),
        "may": {verb: request.user.has_perm(f"usage.{verb}_savedview") for verb in ("add", "change", "delete")},
        "moving": saved.list_moving_ranges(data),
        "api": f"{reverse(kind.api)}?{encode(list_params(data))}",
        "list": build_list_url(kind, data),
        "failed": bool(problems),
        "coverage": reverse("admin:coverage") if request.user.has_perm("usage.view_sourceday") else "",
        "no_sources": not sources,
    }


def build_range(question: Question, data: QueryDict) -> RangeMenu:
    """Return the menu of a question's range."""

    def build_url(first: str, end: str, **changes: str) -> str:
        changes |= {"from": first, "to": end}
        return f"?{question.regroup(question.dimensions, question.interval, **changes)}"

    bounds = data.get("from", ""), data.get("to", "")
    return build_range_menu(RANGES, bounds, get_zone(data), build_url, build_url("", "", compare="", fill=""))


def build_kind_query(kind: SummaryKind, params: Params) -> str:
    """Return the query for another kind over the same range; a zone only where days of any zone are allowed."""
    zoned = kind.metrics is not None and kind.metrics.smallest_interval != "day"
    range_params = [(name, value) for name, value in params if name in {"from", "to"} or (name == "tz" and zoned)]
    names = [part for name in ("interval", "group_by") for part in get_values(params, name)]
    interval = next((name for name in names if name in kind.intervals), "")
    grouping = [("group_by" if kind.metrics else "interval", interval)] if interval else []
    return encode([("kind", kind.name), *range_params, *grouping])


def build_list_url(kind: SummaryKind, data: QueryDict) -> str:
    """Return the address of the records behind the numbers, '' where they are of several tables."""
    if kind.model is None:
        return ""
    filters = [(name, value) for name, value in list_params(data) if name in kind.filterset.base_filters]
    return f"{reverse(f'admin:usage_{kind.model._meta.model_name}_changelist')}?{encode(filters)}"


def build_answer_context(answer: Answer, filterset: Any, number: int) -> dict[str, Any]:
    """Return what the page shows of the answer."""
    kind, rows = answer.kind, build_rows(answer)
    params = [("kind", kind.name), *list_params(filterset.data)]
    question, page = Question(kind, params), cut_page(rows, number)
    charts = build_charts(answer, rows, question)
    return {
        "page": page,
        "page_links": build_page_links(page, params),
        "answer": answer,
        "quality": describe_answer_quality(answer.summary["meta"]),
        "table": build_table(replace(rows, results=list(page)), kind, params),
        "totals_notes": list_totals_notes(answer),
        "units": explain_units(dict.fromkeys(get_unit(name, row) for row in rows.totals for name in rows.measures)),
        "charts": charts,
        "notes": add_notes(charts, answer) if charts else [],
        "charts_json": json.dumps(charts, separators=(",", ":")),
        "too_many_intervals": len(answer.bounds) > MAX_INTERVALS + 1,
        "empty": not any(row["records"] for row in rows.totals if "records" in row) and not rows.results,
        "exports": [
            (label, f"{reverse('admin:explore_export')}?{replace_params(params, format=extension)}")
            for label, extension in (("CSV", "csv"), ("Excel", "xlsx"))
        ],
    }


def export(request: HttpRequest) -> HttpResponseBase:
    """Send the answer as a file, or a text of the problems."""
    kind, data, problems = parse_address(request, require_kinds(request))
    data.pop(PAGE, None)
    extension = data.get("format", "")
    data.pop("format", None)
    if extension not in {"csv", "xlsx"}:
        problems = {**problems, "format": ["Give csv or xlsx."]}
    bom = True
    try:
        bom = parse_bom(data.dict(), default=True)  # type: ignore[arg-type]
        data.pop("bom", None)
        return refuse_file(problems) if problems else build_file_response(request, kind, data, extension, bom=bom)
    except ValidationError as error:
        return refuse_file(get_problems(error.detail))
    except QueryTimeout:
        return render_text(TOO_LONG, 503)
    except SlotsTaken as busy:
        response = render_text(str(busy.detail), busy.status_code)
        response.headers["Retry-After"] = str(busy.wait)
        return response


def build_file_response(
    request: HttpRequest, kind: SummaryKind, data: QueryDict, extension: str, *, bom: bool
) -> HttpResponseBase:
    """Return the answer as a download, which occupies a slot until its end; raises as `ask`, and SlotsTaken."""
    with ExitStack() as stack:
        stack.enter_context(hold_slot())
        filterset = build_filterset(kind, data, request)
        answer = ask(kind, filterset, lambda: None, days=False)
        params = list_params(data)
        if extension == "csv":
            blocks, media_type = files.iterate_csv(answer, bom=bom), files.CSV
        else:
            url = request.build_absolute_uri(build_url([("kind", kind.name), *params]))
            blocks, media_type = files.iterate_xlsx(answer, params, url), files.XLSX
        stream = ExportStream(blocks, stack.pop_all())
    meta = answer.summary["meta"]
    headers = build_headers(files.build_file_name(answer, params, extension), meta["as_of"], meta)
    return StreamingHttpResponse(stream, content_type=media_type, headers=headers)


def refuse_file(problems: Problems) -> HttpResponse:
    """Return the problems of a file's address as a response."""
    return render_text("\n".join(f"{name}: {' '.join(texts)}" for name, texts in problems.items()), 400)


def render_text(text: str, status: int) -> HttpResponse:
    """Return a plain text."""
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
