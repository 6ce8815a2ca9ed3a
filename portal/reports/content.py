"""What the mail of a report contains: its table, how far it can be trusted, its file, and the link to the page."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from email.mime.image import MIMEImage
from html import unescape
from typing import Any, Final

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import strip_tags
from django.utils.safestring import SafeString
from rest_framework.exceptions import ValidationError

from portal.incidents.content import build_link, to_line
from portal.incidents.transports import Mail
from portal.reports.answer import ReportAnswer
from portal.reports.chart import draw_chart
from portal.reports.models import FileFormat, Report, Wait
from usage.data_quality.messages import describe_gaps, describe_open, needs_attention
from usage.explore import files
from usage.explore.params import Params, encode
from usage.explore.quality import describe_answer_quality
from usage.explore.query import list_totals_notes
from usage.explore.rows import build_rows
from usage.explore.table import ExploreTable, TableCell, build_table
from usage.formatting import format_count, format_date, format_dates, format_instant, format_size

MAX_ROWS: Final = 100  # in a mail; the file and the page have more
MEGABYTE: Final = 1_000_000
# All digits and larger units, which a cell has besides its number.
DETAILS: Final = re.compile(r'<span class="exact">[^<]*</span>')
STOP_TEXT: Final = "The report “{}” is stopped, so no more of its mails will come. {}"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is missing in the range of a report, '' for nothing; `is_unmet`: the report waits for it."""

    text: str
    is_unmet: bool


@dataclass(frozen=True, slots=True)
class ReportFile:
    """The file of a report: attached, or None where it is too large; `sentence` states which."""

    attachment: tuple[str, bytes, str] | None
    sentence: str
    url: str = ""


def describe_shortfall(meta: dict[str, Any], wait: str) -> Shortfall:
    """Return what days of a range are missing or in doubt and, where a report waits for it, what is not final."""
    is_open = not meta["complete"] and wait != Wait.NOTHING
    is_provisional = wait == Wait.FINAL and bool(meta["provisional_from"])
    parts = []
    if gaps := describe_gaps(meta):
        parts.append(f"not complete: {gaps}")
    elif is_open:
        parts.append(f"not complete{f': {describe_open(meta)}' if meta['open_days']['total'] else ''}")
    if needs_attention(meta):
        parts.append("some days are in doubt")
    if is_provisional:
        parts.append(f"not final from {format_date(meta['provisional_from'])} on")
    return Shortfall("; ".join(parts), is_open or is_provisional)


def build_mail(report: Report, answer: ReportAnswer, shortfall: str, *, is_test: bool) -> tuple[Mail, str]:
    """Return the mail of a report, and a sentence on its content for the report's page."""
    rows = build_rows(answer.answer)
    row_count = len(rows.results) if rows.is_grouped else 0
    table = build_table(replace(rows, results=rows.results[:MAX_ROWS]), answer.kind, answer.page_params)
    file = build_file(report, answer)
    state, chart = describe_state(answer), draw_chart(answer)
    context = {
        "report": report,
        "range": format_range(answer.params),
        "shortfall": shortfall,
        "notes": [describe_answer_quality(answer.meta).text, *list_totals_notes(answer.answer)],
        "sources": ", ".join(sorted(source.slug for source in answer.answer.sources)) or "none",
        "state": state,
        "table": table,
        "row_count": row_count,
        "is_cut": row_count > MAX_ROWS,
        "max_rows": MAX_ROWS,
        "file": file,
        "chart": chart and chart[1],
        "page": build_link(build_path(answer)),
        "text_rows": list(build_text_rows(table)),
    }
    subject = f"{'Test: ' if is_test else ''}{report.name}, {context['range']}{f' – {shortfall}' if shortfall else ''}"
    mail = Mail(
        to_line(subject),
        render_to_string("reports/mail.txt", context),
        render_to_string("reports/mail.html", context),
        [*([file.attachment] if file and file.attachment else []), *([attach_picture(chart[0])] if chart else [])],
    )
    shortfall_sentence = f"{shortfall[0].upper()}{shortfall[1:]}." if shortfall else ""
    return mail, " ".join(filter(None, [shortfall_sentence, state, file.sentence if file else ""]))


def attach_picture(png: bytes) -> MIMEImage:
    """Return the picture of a chart, which the mail shows where it names it."""
    picture = MIMEImage(png, "png")
    picture.add_header("Content-ID", "<chart>")
    picture.add_header("Content-Disposition", "inline", filename="chart.png")
    return picture


def build_stop_mail(report: Report) -> Mail:
    """Return the mail that announces a report's end, without any of its figures."""
    return Mail(to_line(f"{report.name} is stopped"), STOP_TEXT.format(report.name, report.stop_reason))


def format_range(params: Params) -> str:
    """Return the dates of a range, both included."""
    first, end = (date.fromisoformat(dict(params)[name]) for name in ("from", "to"))
    return format_dates(first, end - timedelta(days=1))


def describe_state(answer: ReportAnswer) -> str:
    """Return the instant and the digest of the records behind an answer."""
    count = format_count(answer.records, "record")
    return f"As of {format_instant(answer.meta['as_of'])}, from {count} with the digest {answer.digest}."


def build_path(answer: ReportAnswer) -> str:
    """Return the path of the page that shows the answer."""
    return f"{reverse('admin:explore')}?{encode(answer.page_params)}"


def build_file(report: Report, answer: ReportAnswer) -> ReportFile | None:
    """Return the file of a report as the page exports it; None where it has none."""
    extension = report.file_format
    if extension == FileFormat.NONE:
        return None
    limit = settings.PORTAL_REPORT_FILE_MB * MEGABYTE
    if extension == FileFormat.CSV:
        blocks, media_type = files.iterate_csv(answer.answer, bom=True), files.CSV
    else:
        url = build_link(build_path(answer)) or build_path(answer)
        blocks, media_type = files.iterate_xlsx(answer.answer, answer.params, url), files.XLSX
    try:
        content = read_up_to(blocks, limit)
    except ValidationError:  # more rows than fit in a workbook of the portal
        content = None
    if content is not None:
        name = files.build_file_name(answer.answer, answer.params, extension)
        sentence = f"Attached: {name} ({format_size(len(content))})."
        return ReportFile((name, content, media_type.partition(";")[0]), sentence)
    query = encode([*answer.page_params, ("format", extension)])
    url = build_link(f"{reverse('admin:explore_export')}?{query}")
    sentence = f"The file has more than the {settings.PORTAL_REPORT_FILE_MB:g} MB that are attached to a mail."
    return ReportFile(None, sentence if url else f"{sentence} Export it in Explore.", url)


def read_up_to(blocks: Iterable[bytes], limit: int) -> bytes | None:
    """Return the content of a file, None where it is larger than a limit."""
    content = bytearray()
    for block in blocks:
        content += block
        if len(content) > limit:
            return None
    return bytes(content)


def build_text_rows(table: ExploreTable) -> Iterator[str]:
    """Yield the table as lines of plain text, its heading first."""
    yield " | ".join(head.label for head in table.heads)
    for row in table.rows:
        yield " | ".join(map(format_cell, row))
    for label, row in table.footer:
        yield " | ".join([label, *map(format_cell, row)])


def format_cell(cell: TableCell) -> str:
    """Return a cell as plain text."""
    if not isinstance(cell.text, SafeString):
        return cell.text
    short = DETAILS.sub("", cell.text).replace("<", " <")
    return " ".join(unescape(strip_tags(short)).split())
