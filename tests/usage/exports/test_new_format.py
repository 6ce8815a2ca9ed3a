"""A format of exports is one file: docs/adding-an-export-format.md has a complete one."""

import shutil
import sys
from collections.abc import Iterator
from importlib import invalidate_caches, reload
from pathlib import Path
from textwrap import dedent

import pytest
from django.test import Client

from portal.environment import BASE_DIR
from tests.support.api_clients import API, create_api_client
from tests.support.factories import ResourceUsageFactory
from usage.api import renderers
from usage.exports import formats

pytestmark = pytest.mark.django_db(transaction=True)
CODE = BASE_DIR / "tests/support/formats/tsv.py"


@pytest.fixture
def tsv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file of the page among the formats."""
    shutil.copy(CODE, tmp_path / "tsv.py")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    invalidate_caches()
    formats_before = dict(formats.FORMATS)
    formats.FORMATS.update(formats.find_formats())
    reload(renderers)
    yield
    formats.FORMATS.clear()
    formats.FORMATS.update(formats_before)
    reload(renderers)
    sys.modules.pop("usage.exports.formats.tsv", None)


def test_the_page_has_the_code_of_the_file() -> None:
    page = (BASE_DIR / "docs/adding-an-export-format.md").read_text()
    assert dedent("   " + page.split("```python\n   ")[1].split("   ```")[0]) == CODE.read_text()


def test_a_new_file_is_offered_by_the_api_and_exports_every_row(tsv: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.api.views.EXPORT_RENDERERS", renderers.EXPORT_RENDERERS)
    ResourceUsageFactory.create_batch(3, resource_name="a\tb")
    client: Client = create_api_client()
    response = client.get(f"{API}/resource-usage/", {"format": "tsv"})
    assert response["Content-Type"] == "text/tab-separated-values"
    lines = b"".join(response.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    assert [len(line.split("\t")) for line in lines] == [lines[0].count("\t") + 1] * 4
    second_response = client.get(f"{API}/resource-usage/", headers={"Accept": "text/tab-separated-values"})
    assert second_response["Content-Disposition"].endswith('.tsv"')
    second_response.close()  # an export keeps its connection until it ends
