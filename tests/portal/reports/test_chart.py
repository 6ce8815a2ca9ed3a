"""The chart of a report as a picture: that of the page, whatever vendors call things, and none where nothing draws it."""

from datetime import timedelta
from typing import Any

import pytest
from matplotlib.figure import Figure

from portal.reports import chart
from portal.reports.chart import draw_chart, draw_intervals
from tests.portal.reports.conftest import get_part, make_report, run
from tests.support.dashboard_data import create_synced_source, get_today
from tests.support.factories import ResourceUsageFactory
from tests.support.smtp_server import serve_mail

pytestmark = pytest.mark.django_db


def fill() -> None:
    """Store a week of usage whose names would be formulas, or be left out of a legend."""
    source = create_synced_source("gcore-main", "gcore", days=12)
    for ago in range(1, 8):
        day = get_today(source) - timedelta(days=ago)
        for kind in ("$x^{2", "_hidden", "volume"):
            ResourceUsageFactory.create(source=source, day=day, resource_type=kind, consumed_quantity=ago)


@pytest.mark.parametrize(
    "question",
    [
        "group_by=day",
        "group_by=resource_type,day",
        "group_by=resource_type",
        "group_by=day&measures=resources",
        "measures=records",
    ],
)
def test_the_mail_shows_the_chart_of_the_page_as_a_picture(question: str, settings: Any) -> None:
    fill()
    settings.PORTAL_REPORT_DOMAINS = ["example.org"]
    make_report(question=question)
    with serve_mail(settings) as server:
        assert run() == 1
    (mail,) = server.mails
    html = get_part(mail, "text/html").decode()
    if question == "measures=records":  # a total has no chart
        assert "cid:chart" not in html
        return
    (picture,) = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert picture["Content-ID"] == "<chart>"
    content = picture.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20]) == 800
    title = "Resources: instance_minutes, minutes" if "measures" in question else "Consumed: instance_minutes (h)"
    assert f'src="cid:chart" alt="{title}"' in html


def test_without_the_extra_a_report_has_no_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "find_spec", lambda _: None)
    chart.load_figure_class.cache_clear()
    response: Any = None
    assert draw_chart(response) is None
    chart.load_figure_class.cache_clear()


def test_counts_that_do_not_add_up_over_groups_are_lines_and_not_stacked() -> None:
    axes: Any = Figure().subplots()
    panel = {"series": [{"name": "a", "values": ["1", None]}, {"name": "b", "values": ["2", "4"]}], "size": 1.0}
    draw_intervals(axes, {**panel, "stacked": False}, ["3 Nov", "4 Nov"])
    assert [[y for _, y in line.get_xydata()] for line in axes.get_lines()] == [[1.0, 0.0], [2.0, 4.0]]
    assert not axes.patches
