"""Exports of the admin's lists, for tests."""

import csv
import io
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal.accounts.models import create_token
from portal.accounts.roles import create_roles
from portal.incidents.models import Channel, Incident
from portal.reports.models import Report
from tests.support.database import store_or_restore
from tests.support.filled_portal import CREDENTIAL, VendorSources, fill_portal, get_vendor_sources
from tests.support.users import create_person
from usage.models import DirectoryEntry, NameKind, Note, Source


@pytest.fixture
def sources(transactional_db: None) -> VendorSources:
    """A month of three vendors, and a token."""
    store_or_restore("export", create)
    return get_vendor_sources()


def create() -> None:
    """Store rows of every list."""
    create_token("=warehouse")
    create_roles()
    fill_portal()
    hook = {"kind": "webhook", "url": f"https://hooks.example.com/{CREDENTIAL}", "secret": CREDENTIAL}
    Channel.objects.create(name="operations", **hook)
    source = Source.objects.get(slug="gcore-main")
    Note.objects.create(day="2026-11-12", text="migration", source=source)
    DirectoryEntry.objects.create(source=source, kind=NameKind.PROJECT, vendor_id="1", name="Data platform")
    Report.objects.create(name="monthly", owner=create_person("viewer"), next_at="2030-01-01T07:00:00Z")
    Incident.objects.create(condition="source_failing", key="source:1", subject="gcore-main", severity="critical")


def build_export_url(list_name: str, view: str = "export", *args: str) -> str:
    """Return the URL of a view of a list's export."""
    return reverse(f"admin:{list_name}_{view}", args=args)


def read_body(response: Any) -> bytes:
    """Return the body of a download."""
    assert response.status_code == 200, response
    return b"".join(response.streaming_content)


def export_rows(client: Client, list_name: str, **query: str) -> list[dict[str, str]]:
    """Return the rows of a list's CSV export, parsed strictly."""
    return parse_rows(read_body(client.get(build_export_url(list_name), query)).decode("utf-8-sig"))


def parse_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of CSV, parsed strictly."""
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
