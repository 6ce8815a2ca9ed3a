"""A vendor of a known kind of usage is one new folder and no other edit: docs/adding-a-vendor.md adds one."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.vendors import mirrors, readers
from tests.support.made_up_vendor import CODE, NAME, PAGE, install_vendor
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import build_sandbox_url
from usage.models import EnvironmentUsage, Source, SourceDay

DAY = date(2026, 11, 3)


@pytest.fixture
def _acme(tmp_path: Path) -> Iterator[None]:
    with install_vendor(tmp_path):
        yield


def test_the_page_has_a_reader_and_a_stand_in() -> None:
    assert [match["file"] for match in CODE.finditer(PAGE.read_text())] == ["reader.py", "sandbox.py"]


def test_a_new_folder_is_found_beside_the_others(tmp_path: Path) -> None:
    before = set(readers())
    with install_vendor(tmp_path):
        assert set(readers()) == {*before, NAME}
        assert readers()[NAME].title == "Acme"
        assert NAME not in mirrors()
    assert set(readers()) == before


@pytest.mark.django_db
@pytest.mark.usefixtures("_acme")
def test_a_new_vendors_usage_reaches_the_database_with_no_other_edit(settings: Any) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    with SandboxServer() as sandbox:
        source = Source.objects.create(
            slug="new",
            vendor=NAME,
            base_url=build_sandbox_url(NAME, sandbox.url),
            credential="sandbox-key",
            backfill_from=DAY,
        )
        ensure_days(source, DAY, DAY + timedelta(days=1))
        SourceDay.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
        attempt = load_next(source.pk)
    assert attempt is not None
    assert (attempt.outcome, attempt.inserted) == ("loaded", 60)
    assert SourceDay.objects.get().verification == "verified"
    assert EnvironmentUsage.objects.filter(record_id=f"{DAY}-7", user_id="ada", runtime_seconds__gte=60).exists()
