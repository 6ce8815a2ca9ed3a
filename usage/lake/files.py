"""Files of a table: written batch by batch, and exchanged for others in one commit."""

from collections.abc import Collection, Iterable, Iterator, Set
from datetime import date, timedelta
from typing import Final
from uuid import uuid4

import pyarrow as pa
from pyarrow import compute, parquet
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Table, Transaction
from pyiceberg.types import DateType

from usage.lake.catalog import add_field_ids

EPOCH: Final = date(1970, 1, 1)
# Every commit adds manifests, and a reader opens all of them.
MAX_MANIFESTS: Final = 50
BATCH_ROWS: Final = 16_384
Key = tuple[str, date]  # the slug of a source, and a day


def write_file(table: Table, schema: pa.Schema, batches: Iterable[pa.RecordBatch | pa.Table]) -> DataFile | None:
    """Write a file of one partition, which no snapshot has yet; None for no rows. One batch is in memory."""
    typed = add_field_ids(table, schema)
    path = table.location_provider().new_data_location(f"{uuid4()}.parquet")
    rows = 0
    with (
        table.io.new_output(path).create() as stream,
        parquet.ParquetWriter(stream, typed, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in batches:
            part = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            writer.write_table(widen(part, typed))
            rows += part.num_rows
    if rows:
        return parquet_file_to_data_file(table.io, table.metadata, path)
    table.io.delete(path)
    return None


def widen(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a schema: null where an old file has none."""
    for field in schema:
        if field.name not in part.schema.names:
            part = part.append_column(field, pa.nulls(part.num_rows, field.type))
    # A column that the schema lacks stays, so that the cast refuses it: the file may be the only copy.
    return part.select(list(dict.fromkeys([*schema.names, *part.schema.names]))).cast(schema)


def read_file(table: Table, file: DataFile) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file; raises OSError where a page is not as it was written."""
    with table.io.new_input(file.file_path).open() as stream:
        yield from parquet.ParquetFile(stream, page_checksum_verification=True).iter_batches(batch_size=BATCH_ROWS)


def list_files(table: Table, keys: Collection[Key] | None = None) -> list[DataFile]:
    """Return the files of the current snapshot; with `keys`, those that may have rows of these days."""
    if table.current_snapshot() is None or (keys is not None and not keys):
        return []
    if keys is None:
        return [task.file for task in table.scan().plan_files()]
    days = [day for _, day in keys]
    sources = ", ".join(f"'{source}'" for source in sorted({source for source, _ in keys}))
    scan = table.scan(f"source IN ({sources}) AND day >= '{min(days)}' AND day <= '{max(days)}'")
    return [task.file for task in scan.plan_files() if keys & list_keys(table, task.file)]  # type: ignore[operator]


def get_days(table: Table, file: DataFile) -> tuple[date, date]:
    """Return the first and the last day that a file has rows of."""
    field = table.schema().find_field("day").field_id
    first, last = (
        EPOCH + timedelta(days=int(from_bytes(DateType(), bounds[field])))
        for bounds in (file.lower_bounds, file.upper_bounds)
    )
    return first, last


def list_keys(table: Table, file: DataFile) -> set[Key]:
    """Return the days that a file of a table of usage may have rows of."""
    first, last = get_days(table, file)
    return {(file.partition[0], first + timedelta(days=number)) for number in range((last - first).days + 1)}


def keep_other_days(table: Table, file: DataFile, schema: pa.Schema, keys: Collection[Key]) -> DataFile | None:
    """Write the rows of other days to a new file; None where it has no others."""
    source = file.partition[0]
    replaced_days = pa.array(sorted(day for slug, day in keys if slug == source), pa.date32())
    remaining_batches = (
        batch.filter(compute.invert(compute.is_in(batch["day"], value_set=replaced_days)))
        for batch in read_file(table, file)
    )
    return write_file(table, schema, remaining_batches)


def renew_files(
    table: Table, schema: pa.Schema, keys: Set[Key], new_files: Iterable[DataFile | None]
) -> tuple[list[DataFile], list[DataFile]]:
    """Return the files that have rows of these days, and those that replace them: `new_files`, and their other days."""
    old = list_files(table, keys)
    remainders = (keep_other_days(table, file, schema, keys) for file in old if not list_keys(table, file) <= keys)
    return old, [file for files in (remainders, new_files) for file in files if file is not None]


def list_manifests(table: Table, *, has_files: bool) -> list[ManifestFile]:
    """Return the manifests of the current snapshot that name files of it, or those that only name removed files."""
    current = table.current_snapshot()
    manifests = current.manifests(table.io) if current is not None else []
    return [
        manifest for manifest in manifests if (manifest.has_added_files() or manifest.has_existing_files()) == has_files
    ]


def commit_files(
    table: Table, old: Iterable[DataFile], new: Iterable[DataFile], properties: dict[str, str] | None = None
) -> None:
    """Exchange files in a commit of its own; see `exchange_files`."""
    with table.transaction() as staged:
        exchange_files(table, staged, old, new, properties or {})


def exchange_files(
    table: Table, transaction: Transaction, old: Iterable[DataFile], new: Iterable[DataFile], properties: dict[str, str]
) -> int:
    """Stage a snapshot with the new files in place of the old; returns its id. Gathers many manifests into one."""
    with transaction.update_snapshot(snapshot_properties=properties).overwrite() as snapshot:
        removed = set(old)
        for file in removed:
            snapshot.delete_data_file(file)
        for file in new:
            snapshot.append_data_file(file)
        if len(list_manifests(table, has_files=True)) > MAX_MANIFESTS:
            for file in set(list_files(table)) - removed:
                snapshot.delete_data_file(file)
                snapshot.append_data_file(file)
    return snapshot.snapshot_id
