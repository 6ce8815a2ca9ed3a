"""What the overview says of sources, to whom, and how few queries that takes."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.dashboard_data import create_synced_source, set_day
from tests.support.overview import find_card, open_overview
from tests.support.overview import noon as noon
from tests.support.users import sign_in_as
from usage.models import Source

pytestmark = pytest.mark.django_db


def with_rights(*codes: str) -> Client:
    """Return a client of someone who has just these rights."""
    user = User.objects.create_user("somebody", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codes))
    client = Client()
    client.force_login(user)
    return client


def test_health_and_freshness_are_said_in_words(noon: None) -> None:
    create_synced_source("gcore-main", "gcore")
    create_synced_source("ona-off", "ona", enabled=False)

    context = open_overview(sign_in_as("viewer"))

    healthy, off = find_card(context, "gcore-main"), find_card(context, "ona-off")
    assert healthy.coverage == "Complete through 22 Nov 2026; 3 days provisional."
    assert "Healthy" in healthy.badge
    assert healthy.last_sync == "10 minutes ago"
    assert "Off" in off.badge


def test_all_is_well_is_said_calmly(noon: None) -> None:
    create_synced_source("gcore-main", "gcore")
    create_synced_source("ona-main", "ona")

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert "No alerts. All 2 sources are synced as planned. Complete through 22 Nov 2026." in page
    assert ">Alerts</h2>" not in page


def test_a_source_that_has_no_complete_day_yet_is_being_synced(noon: None) -> None:
    create_synced_source("gcore-main", "gcore", days=1)

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert "No alerts. 1 source is being synced." in page
    assert "Complete through" not in page


def test_the_charts_show_thirty_or_ninety_days_and_nothing_else(noon: None) -> None:
    create_synced_source("ona-main", "ona")
    client = sign_in_as("viewer")

    assert open_overview(client)["chart_days"] == [(30, True), (90, False)]
    assert open_overview(client, days="90")["chart_days"] == [(30, False), (90, True)]
    assert open_overview(client, days="100000000")["chart_days"] == [(30, True), (90, False)]
    assert client.get("/admin/", {"days": "90"}).content.count(b"<title>") > 90


def test_a_new_portal_tells_who_may_how_to_add_the_first_source() -> None:
    page = sign_in_as("administrator").get("/admin/").content.decode()
    assert "No sources yet" in page
    assert 'href="/admin/usage/source/add/"' in page
    assert "Gcore, Ona, Workato" in page

    page = sign_in_as("viewer").get("/admin/").content.decode()
    assert "An administrator can add the first source." in page
    assert "/admin/usage/source/add/" not in page


def test_who_sees_no_source_is_told_so_and_not_that_there_are_others() -> None:
    create_synced_source("zebra", "gcore", days=3)

    page = sign_in_as("viewer", sources=[]).get("/admin/").content.decode()

    assert "You cannot see any source yet" in page
    assert "zebra" not in page
    assert "Gcore" not in page


def test_a_limited_person_sees_their_sources_alone_in_lists_sums_and_troubles(noon: None) -> None:
    source = create_synced_source("mine", "gcore")
    set_day(
        create_synced_source("zebra", "gcore", scale=Decimal(1000)),
        5,
        state="failed",
        error="zebra bites",
        complete=False,
    )

    client = sign_in_as("administrator", sources=[source])
    page = client.get("/admin/").content.decode()

    context = open_overview(client)
    assert [card.slug for vendor in context["vendors"] for card in vendor.cards] == ["mine"]
    assert context["vendors"][0].together is None
    assert "zebra" not in page
    assert context["alerts"] == []
    assert "1 source is synced as planned" in context["summary"].text


def test_usage_of_a_kind_is_shown_only_to_who_may_see_it(noon: None) -> None:
    create_synced_source("gcore-main", "gcore")

    card = find_card(open_overview(with_rights("view_source")), "gcore-main")

    assert card.usage is None
    assert card.links == []


def test_someone_who_may_not_see_sources_is_told_whom_to_ask() -> None:
    create_synced_source("gcore-main", "gcore", days=3)

    page = with_rights("view_apitoken").get("/admin/").content.decode()

    assert "You cannot see sources" in page
    assert "gcore" not in page.lower()


def test_the_number_of_queries_does_not_grow_with_sources_days_or_troubles(noon: None) -> None:
    client = sign_in_as("administrator")

    def queries() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as context:
            open_overview(client)
        return [query["sql"] for query in context.captured_queries]

    trouble(create_synced_source("gcore-0", "gcore", days=5), 1)
    few_queries = queries()
    for number in range(1, 12):
        trouble(create_synced_source(f"gcore-{number}", "gcore", days=40), number % 3 + 1)
        create_synced_source(f"ona-{number}", "ona", days=20)
    many_queries = queries()

    assert len(many_queries) == len(few_queries)
    assert len(many_queries) <= QUERIES, "\n".join(many_queries)
    records = ("usage_environmentusage", "usage_resourceusage", "usage_recipeusage")
    assert not [sql for sql in many_queries if any(f'"{table}"' in sql for table in records)]


# Who is asking (2), their rights (2), their groups' sources (for the page and for its menu), the sources, their coverage (2), what waits too long,
# the troubled days, restatements, open incidents of the portal itself, the tokens, the days with their sums.
QUERIES = 22


def trouble(source: Source, number: int) -> None:
    """Have some of a source's days fail, be suspect and be partial."""
    for ago, state in zip(range(3, 3 + number), ("failed", "suspect", "partial"), strict=False):
        set_day(source, ago, state=state, complete=False, final=False)


def test_there_is_no_all_clear_while_a_source_is_not_healthy_though_nobody_sees_an_alert(noon: None) -> None:
    set_day(create_synced_source("gcore-main", "gcore"), 9, state="partial", rejected=1, complete=False, final=False)

    # Without the right to see days there are no alerts about them.
    context = open_overview(with_rights("view_source", "view_resourceusage"))

    assert context["alerts"] == []
    assert (context["summary"].tone, context["summary"].text) == (
        "warn",
        "Not every source is healthy: gcore-main (partial).",
    )
