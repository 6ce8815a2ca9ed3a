"""Batches of a Parquet file have the rows and the texts that PostgreSQL has written as CSV."""

from typing import Any

import pyarrow as pa
import pytest

from usage.exports.formats.parquet import parse_batch

TEXT = [("name", pa.string())]
NUMBER = [("project_id", pa.int64())]


@pytest.mark.parametrize(
    ("csv", "columns", "rows"),
    [
        ("a\n\nb\n", TEXT, ["a", None, "b"]),
        ('\n\n""\n"\n"\n"\n\nx"\n', TEXT, [None, None, "", "\n", "\n\nx"]),
        ("\n1\n\n", NUMBER, [None, 1, None]),
        ("\n", NUMBER, [None]),
    ],
)
def test_a_null_in_the_only_column_is_a_row(csv: str, columns: Any, rows: list[Any]) -> None:
    assert parse_batch(csv.encode(), pa.schema(columns)).column(0).to_pylist() == rows


@pytest.mark.parametrize("csv", ["\ufeffa,1\n\ufeffa,\n", '"\ufeffa",1\n\ufeffa,2\n'])
def test_a_byte_order_mark_stays_in_the_first_text_of_a_batch(csv: str) -> None:
    assert parse_batch(csv.encode(), pa.schema([*TEXT, *NUMBER]))["name"].to_pylist() == ["\ufeffa", "\ufeffa"]
