"""A fourth vendor of a known kind of usage is one new folder and no other edit: here is one, made up."""

import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import sync.vendors
from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.sandbox.server import SandboxServer
from sync.vendors import readers
from usage.models import EnvironmentUsage, Source, SourceDay

DAY = date(2026, 11, 3)
READER = '''
"""Made up: machines that ran, one answer a day."""

from datetime import datetime

import msgspec

from sync.vendors.base import Checked, Page, Pages, VendorReader
from usage.days import Day
from usage.models import EnvironmentRow, EnvironmentUsage


class Machine(msgspec.Struct):
    """One machine that ran."""

    name: str
    began: datetime
    ended: datetime


class Reader(VendorReader):
    """Reads which machines ended on a day."""

    kind = EnvironmentUsage
    title = "Made up"
    hosts = ("api.madeup.example",)
    base_url = "https://api.madeup.example/v1"

    @classmethod
    def authorization(cls, credential: str) -> str:
        """Return the header's value."""
        return f"Key {credential}"

    def pages(self, day: Day) -> Pages:
        """Yield the machines of one day."""
        answer = self.http.get("/machines", {"day": str(day.date)})
        machines = msgspec.json.decode(answer, type=list[Machine])
        yield Page([EnvironmentRow(one.name, "", "", "", "", "", one.began, one.ended) for one in machines])
        return Checked()

    def probe(self) -> str:
        """Ask for nothing in particular."""
        self.http.get("/machines", {"day": "2026-01-01"})
        return "Made up answered."
'''
SANDBOX = '''
"""The made-up vendor's stand-in."""

import json

from sync.sandbox.world import Answer


class Sandbox:
    """Three machines every day."""

    def __init__(self, world):
        self.world = world

    def answer(self, request, faults):
        """Answer one request."""
        assert request.path == "/v1/machines"
        assert request.headers["authorization"] == "Key sandbox-key"
        day = request.query["day"][0]
        machines = [
            {"name": f"{day}-{number}", "began": f"{day}T08:00:00Z", "ended": f"{day}T09:0{number}:00Z"}
            for number in range(3)
        ]
        return Answer(200, json.dumps(machines).encode())
'''


@pytest.fixture
def madeup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder with a reader and a stand-in, found beside the others for the length of a test."""
    folder = tmp_path / "madeup"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "reader.py").write_text(READER)
    (folder / "sandbox.py").write_text(SANDBOX)
    monkeypatch.setattr(sync.vendors, "__path__", [*sync.vendors.__path__, str(tmp_path)])
    readers.cache_clear()
    yield "madeup"
    readers.cache_clear()
    for name in [name for name in sys.modules if name.startswith("sync.vendors.madeup")]:
        del sys.modules[name]
    vars(sync.vendors).pop("madeup", None)


def test_a_new_folder_is_found_beside_the_others(madeup: str):
    assert set(readers()) == {"gcore", "ona", "workato", madeup}
    assert readers()[madeup].title == "Made up"


@pytest.mark.django_db(transaction=True)
def test_a_new_vendors_usage_reaches_the_database_with_no_other_edit(madeup: str, settings: Any):
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1"]
    with SandboxServer() as sandbox:
        source = Source.objects.create(
            slug="new",
            vendor=madeup,
            base_url=f"{sandbox.url}/madeup/v1",
            credential="sandbox-key",
            backfill_from=DAY,
        )
        ensure_days(source, DAY, DAY + timedelta(days=1))
        SourceDay.objects.update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
        attempt = load_next(source.pk)
    assert attempt is not None
    assert (attempt.outcome, attempt.inserted) == ("loaded", 3)
    assert EnvironmentUsage.objects.get(record_id="2026-11-03-2").runtime_seconds == 3720


def test_without_its_folder_the_vendor_is_unknown():
    assert "madeup" not in readers()
