"""Reads a folder of Parquet files by four programs, which need an environment of their own (`.venvs/api`).

`python -m tests.support.parquet_readers FOLDER` prints as JSON the rows that each of them reads from all files.
"""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

NUMBER, TEXT, INSTANT = "consumed_quantity", "consumed_quantity_exact", "changed_at"
Rows = list[tuple[Any, Any, Any]]


def read_by_pyarrow(folder: Path) -> Rows:
    """Return number, text and instant of every row."""
    from pyarrow import dataset

    table = dataset.dataset(folder, format="parquet").to_table(columns=[NUMBER, TEXT, INSTANT])
    return [tuple(row.values()) for row in table.to_pylist()]


def read_by_polars(folder: Path) -> Rows:
    """Return number, text and instant of every row, read as Polars does by itself: lazily, a whole folder."""
    import polars as pl

    frame: Any = pl.scan_parquet(folder).select(NUMBER, TEXT, INSTANT).collect()
    return list(frame.rows())


def read_by_duckdb(folder: Path) -> Rows:
    """Return number, text and instant of every row."""
    import duckdb

    relation = duckdb.sql(f"SELECT {NUMBER}, {TEXT}, epoch_us({INSTANT}) FROM read_parquet('{folder}/*.parquet')")
    return list(relation.fetchall())


def read_by_pandas(folder: Path) -> Rows:
    """Return number, text and instant of every row."""
    import pandas as pd

    frame = pd.read_parquet(folder, columns=[NUMBER, TEXT, INSTANT]).astype(object)
    return [tuple(row) for row in frame.where(frame.notna(), None).itertuples(index=False)]


READERS: dict[str, Callable[[Path], Rows]] = {
    "pyarrow": read_by_pyarrow,
    "polars": read_by_polars,
    "duckdb": read_by_duckdb,
    "pandas": read_by_pandas,
}


def summarize(rows: Rows) -> dict[str, Any]:
    """Return the rows as JSON has them: every number exactly, every instant in microseconds."""
    return {
        "numbers": sorted(f"{number.normalize():f}" for number, _, _ in rows if isinstance(number, Decimal)),
        "texts": sorted(text for _, text, _ in rows if text is not None),
        "instants": sorted({count_microseconds(instant) for _, _, instant in rows}),
        "rows": len(rows),
    }


def count_microseconds(instant: Any) -> int:
    """Return the microseconds since the epoch."""
    if isinstance(instant, int):
        return instant
    return round(Decimal(str(instant.timestamp())) * 1_000_000)


if __name__ == "__main__":
    print(json.dumps({name: summarize(read(Path(sys.argv[1]))) for name, read in READERS.items()}))
