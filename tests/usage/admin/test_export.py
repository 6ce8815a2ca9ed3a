"""Export of every list of the admin: the filtered set in every format, to who may have it."""

import io
import json
from codecs import BOM_UTF8
from collections.abc import Iterator

import openpyxl
import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from pyarrow import parquet
from pytest_django import DjangoDbBlocker

from tests.support.admin_exports import build_export_url, create, export_rows, parse_rows, read_body
from tests.support.database import commit_rows
from tests.support.filled_portal import CREDENTIAL, VendorSources, get_vendor_sources
from tests.support.users import sign_in_as
from usage.admin.base import PortalAdmin
from usage.models import RejectedRecord, SourceDay

pytestmark = pytest.mark.django_db
LISTS = {
    "usage_environmentusage": 117,
    "usage_resourceusage": 90,
    "usage_recipeusage": 72,
    "usage_source": 3,
    "usage_sourceday": 90,
    "usage_restatement": 1,
    "usage_rejectedrecord": 2,
    "sync_syncrun": 1,
    "accounts_apitoken": 1,
    "auth_user": 1,
    "auth_group": 3,
    "accounts_auditentry": None,
    "incidents_incident": 1,
    "incidents_channel": 1,
    "reports_report": 1,
    "usage_directoryentry": 1,
    "usage_note": 1,
}


@pytest.fixture(scope="module")
def stored(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[VendorSources]:
    """A month of three vendors and rows of every list, committed: an export reads on a connection of its own."""
    with commit_rows(django_db_blocker):
        create()
        day = SourceDay.objects.latest("day")
        fields = {"payload": "=1+1", "payload_digest": "2" * 32, "reason": "@SUM(A1)"}
        RejectedRecord.objects.create(source_day=day, attempt=1, **fields)
        yield get_vendor_sources()


@pytest.fixture
def sources(stored: VendorSources, db: None) -> VendorSources:
    """The sources of the stored rows."""
    return stored


@pytest.mark.usefixtures("sources")
def test_every_list_is_exported_in_every_format_and_no_secret_is_in_a_file(subtests: pytest.Subtests) -> None:
    client = sign_in_as("admin")
    for list_name in LISTS:
        with subtests.test(list_name):
            check_formats(client, list_name)


def check_formats(client: Client, list_name: str) -> None:
    """Every format has the rows and columns of the list, and none a secret."""
    text, ndjson = (
        read_body(client.get(build_export_url(list_name), {"format": form})).decode() for form in ("csv", "ndjson")
    )
    csv_rows = parse_rows(text.removeprefix("\ufeff"))
    lines = [json.loads(line) for line in ndjson.splitlines()]
    book = openpyxl.load_workbook(io.BytesIO(read_body(client.get(build_export_url(list_name), {"format": "xlsx"}))))
    table = parquet.read_table(io.BytesIO(read_body(client.get(build_export_url(list_name), {"format": "parquet"}))))

    assert len(csv_rows) == len(lines) == table.num_rows == book["usage"].max_row - 1
    assert len(csv_rows) == LISTS[list_name] or (LISTS[list_name] is None and csv_rows)
    header = list(csv_rows[0])
    columns = [name for name in table.column_names if not name.endswith("_exact")]
    assert header == list(lines[0]) == columns == [cell.value for cell in next(book["usage"].iter_rows())]
    assert book["About"]["B1"].value == str(apps.get_model(list_name.replace("_", ".", 1))._meta.verbose_name_plural)

    for content in (text, ndjson):
        assert CREDENTIAL not in content
        assert "digest" not in content.splitlines()[0]
        assert "credential" not in content.splitlines()[0]


def test_a_browser_s_csv_begins_with_a_byte_order_mark_unless_told_otherwise(sources: VendorSources) -> None:
    client = sign_in_as("admin")
    content = read_body(client.get(build_export_url("usage_sourceday"), {"format": "csv"}))
    assert content.startswith(BOM_UTF8)
    assert (
        read_body(client.get(build_export_url("usage_sourceday"), {"format": "csv", "bom": "0"}))
        == content[len(BOM_UTF8) :]
    )
    response = client.get(build_export_url("usage_sourceday"), {"format": "csv", "bom": "yes"}, follow=True)
    assert "“yes” is not one of: 0, 1." in response.content.decode()


def test_every_list_of_the_portals_own_can_be_exported() -> None:
    own = [model_admin for model_admin in admin.site._registry.values() if isinstance(model_admin, PortalAdmin)]
    assert [model_admin.opts.label for model_admin in own if not model_admin.get_export_columns()] == []
    assert set(LISTS) == {f"{model_admin.opts.app_label}_{model_admin.opts.model_name}" for model_admin in own}


def test_what_is_exported_is_the_filtered_set_and_not_the_page(sources: VendorSources) -> None:
    exported_rows = export_rows(sign_in_as("viewer"), "usage_sourceday", source="gcore-main", state="failed", p="1")

    assert [(row["source"], row["state"]) for row in exported_rows] == [("gcore-main", "failed")]
    assert exported_rows[0]["complete"] == "false"
    assert len(export_rows(sign_in_as("viewer"), "usage_sourceday", source="ona-main")) == 30


def test_text_that_a_spreadsheet_would_run_is_neutralised(sources: VendorSources) -> None:
    client = sign_in_as("admin")

    assert export_rows(client, "accounts_apitoken")[0]["name"] == "'=warehouse"
    assert ("'=1+1", "'@SUM(A1)") in {
        (row["payload"], row["reason"]) for row in export_rows(client, "usage_rejectedrecord")
    }


def test_the_file_is_named_after_what_it_holds(sources: VendorSources) -> None:
    query = {"source": "gcore-main", "from": "2026-11-01", "to": "2026-11-11", "format": "ndjson"}

    response = sign_in_as("viewer").get(build_export_url("usage_resourceusage"), query)
    read_body(response)

    disposition = response["Content-Disposition"]
    assert disposition.startswith('attachment; filename="resource-usage_gcore-main_2026-11-01_2026-11-11_as-of-20')
    assert disposition.endswith('Z.ndjson"')
    assert response["Portal-Complete"] == "true"


def test_the_file_of_a_list_with_a_range_of_days_is_named_after_them(sources: VendorSources) -> None:
    query = {"source": "gcore-main", "day__range__gte": "2026-11-01", "day__range__lte": "2026-11-10"}

    response = sign_in_as("viewer").get(build_export_url("usage_sourceday"), query)
    read_body(response)

    name = response["Content-Disposition"].partition('filename="')[2]
    assert name.startswith("source-days_gcore-main_2026-11-01_2026-11-10_as-of-20")


@pytest.mark.parametrize("view", ["export", "export_about"])
def test_who_may_not_see_a_list_may_not_have_it_as_a_file(sources: VendorSources, view: str) -> None:
    assert sign_in_as("viewer").get(build_export_url("accounts_apitoken", view)).status_code == 403
    assert Client().get(build_export_url("usage_resourceusage", view)).status_code == 302


def test_whoever_sees_some_sources_exports_those_and_no_other(
    sources: VendorSources, subtests: pytest.Subtests
) -> None:
    client = sign_in_as("viewer", sources=[sources.environments])
    for list_name in (name for name in LISTS if name[:5] in {"usage", "sync_"}):
        with subtests.test(list_name):
            exported_rows = export_rows(client, list_name)
            about_page = client.get(build_export_url(list_name, "export_about")).content.decode()

            assert {row.get("source", row.get("slug")) for row in exported_rows} <= {"ona-main"}
            assert "gcore-main" not in about_page
            assert "workato-emea" not in about_page


def test_a_source_that_one_may_not_know_of_is_no_source(sources: VendorSources) -> None:
    client = sign_in_as("viewer", sources=[sources.environments])

    hidden_response = client.get(build_export_url("usage_sourceday"), {"source": "gcore-main"}, follow=True)
    missing_response = client.get(build_export_url("usage_sourceday"), {"source": "nowhere"}, follow=True)

    messages = [
        [str(message) for message in response.context["messages"]] for response in (hidden_response, missing_response)
    ]
    assert messages[0][0].replace("gcore-main", "nowhere") == messages[1][0]


def test_an_unknown_format_is_told_with_those_there_are(sources: VendorSources) -> None:
    response = sign_in_as("viewer").get(build_export_url("usage_sourceday"), {"format": "pdf"}, follow=True)

    assert [str(message) for message in response.context["messages"]] == [
        "“pdf” is not one of: csv, xlsx, ndjson, parquet."
    ]
