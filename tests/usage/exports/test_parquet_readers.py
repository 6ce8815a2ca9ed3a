"""pyarrow, Polars, DuckDB and pandas read any two Parquet files of a kind together, each as it reads a folder by itself."""

import json
import os
import subprocess
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from portal.environment import BASE_DIR
from tests.support.api_clients import create_api_client
from tests.support.exports import download
from tests.support.factories import ResourceUsageFactory, SourceFactory
from usage.models import ResourceUsage

# An export has a connection of its own, which sees only what is committed.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

PYTHON = BASE_DIR / ".venvs" / "api" / "bin" / "python"
FITTING = ["0.5", "-0.000000000000000001", "99999999999999999999.999999999999999999"]
BEYOND = ["0.0000000000000000001", "123456789012345678901234567890"]


def test_four_readers_take_files_with_other_numbers_no_rows_and_no_numbers_together(tmp_path: Path) -> None:
    client, source = create_api_client(), SourceFactory()
    for day, quantity in ((1, FITTING[0]), (2, FITTING[1]), (2, BEYOND[0]), (3, BEYOND[1]), (3, FITTING[2])):
        ResourceUsageFactory(source=source, day=date(2026, 1, day), consumed_quantity=Decimal(quantity))
    for day in range(1, 5):  # the fourth has no rows
        body = download(
            client, "resource-usage", format="parquet", **{"from": f"2026-01-0{day}", "to": f"2026-01-0{day + 1}"}
        )
        (tmp_path / f"{day}.parquet").write_bytes(body)
    command = [str(PYTHON), "-m", "tests.support.parquet_readers", str(tmp_path)]
    variables = {**os.environ, "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(command, cwd=BASE_DIR, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    instants = ResourceUsage.objects.values_list("changed_at", flat=True)
    expected = {
        "numbers": sorted(f"{Decimal(number).normalize():f}" for number in FITTING),
        "texts": sorted(BEYOND),
        "instants": sorted({round(Decimal(str(instant.timestamp())) * 1_000_000) for instant in instants}),
        "rows": 5,
    }
    assert json.loads(result.stdout) == dict.fromkeys(("pyarrow", "polars", "duckdb", "pandas"), expected)
