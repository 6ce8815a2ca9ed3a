"""Once a day: drop old tags and snapshots, remove files that nothing names, and compact closed months."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import chain, groupby
from typing import Any, Final

import structlog
from pyarrow.fs import FileSelector, FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from usage.exports.formats.parquet import build_schema
from usage.lake.catalog import Lake, get_lake_columns
from usage.lake.files import exchange_files, get_days, list_files, read_file, write_file
from usage.lake.tags import drop_old_tags, name_tag

logger = structlog.get_logger(__name__)

# A reader that has begun goes on with the files of its snapshot, and a publisher commits what it has written.
KEEP_SNAPSHOTS: Final = timedelta(days=1)
KEEP_FILES: Final = timedelta(days=1)
# Of a closed month, files of one source are joined up to so many rows. A day that is published anew later takes its
# file along, so it must not be too large.
COMPACTED_ROWS: Final = 2_000_000
MAX_COMPACTED_ROWS: Final = 10_000_000  # in one run


def is_due(lake: Lake, now: datetime) -> bool:
    """Tell whether nothing was published yet today: the tag of the day is missing."""
    return name_tag(now) not in lake.days.metadata.refs


def maintain(lake: Lake, now: datetime) -> None:
    """Do all of it; what fails is done by the next publisher of a new day."""
    for kind, table in lake.usage.items():
        compact(table, build_schema(get_lake_columns(kind)), now.astimezone(UTC).date())
    for table in lake.tables:
        drop_old_tags(table, now)
        table.maintenance.expire_snapshots().older_than(now - KEEP_SNAPSHOTS).commit()
        removed = remove_orphans(table, now - KEEP_FILES)
        logger.info("lake table maintained", table=".".join(table.name()), removed=removed)


def compact(table: Table, schema: Any, today: date) -> None:
    """Join the files of each source's closed months, in one commit."""
    old: list[DataFile] = []
    new: list[DataFile] = []
    rows = 0
    for group in list_groups(table, today):
        if rows >= MAX_COMPACTED_ROWS:
            break
        joined = write_file(table, schema, chain.from_iterable(read_file(table, file) for file in group))
        old += group
        new += [joined] if joined else []
        rows += sum(file.record_count for file in group)
    if old:
        with table.transaction() as staged:
            exchange_files(table, staged, old, new, {"usage-portal.compaction": "true"})


def list_groups(table: Table, today: date) -> Iterator[list[DataFile]]:
    """Yield files of one source and one closed month that become one, in the order of their days.

    A month is closed from the second month after it on: its days were read for the last time by then, mostly.
    """
    first_open = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    files = sorted(
        ((file.partition[0], get_days(table, file), file) for file in list_files(table)), key=lambda found: found[:2]
    )
    closed = (found for found in files if found[1][1] < first_open)
    for _, month in groupby(closed, key=lambda found: (found[0], found[1][0].replace(day=1))):
        yield from (group for group in split_group([file for _, _, file in month]) if len(group) > 1)


def split_group(files: list[DataFile]) -> Iterator[list[DataFile]]:
    """Yield consecutive files that have COMPACTED_ROWS together at most."""
    group: list[DataFile] = []
    for file in files:
        if group and sum(one.record_count for one in group) + file.record_count > COMPACTED_ROWS:
            yield group
            group = []
        group.append(file)
    yield group


def remove_orphans(table: Table, before: datetime) -> int:
    """Delete the files in the table's folder that no snapshot names and that are older; returns how many.

    Raises RuntimeError where a named file is not among those found: then the two lists do not compare.
    """
    named = {strip_scheme(path) for path in list_named(table)}
    file_system, folder = open_folder(table)
    found = file_system.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    if missing := named - {info.path for info in found}:
        raise RuntimeError(f"{len(missing)} files of the lake are not in {folder}, such as {min(missing)}.")
    orphans = [info.path for info in found if info.is_file and info.path not in named and info.mtime < before]
    for path in orphans:
        file_system.delete_file(path)
    return len(orphans)


def open_folder(table: Table) -> tuple[FileSystem, str]:
    """Return the file system of a table, and its folder there."""
    scheme, host, path = PyArrowFileIO.parse_location(table.location())
    assert isinstance(table.io, PyArrowFileIO)  # noqa: S101
    return table.io.fs_by_scheme(scheme, host), path


def list_named(table: Table) -> Iterator[str]:
    """Yield every file that the current metadata leads to."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    seen = set()
    for snapshot in table.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))


def strip_scheme(location: str) -> str:
    """Return a location as its file system names it."""
    return PyArrowFileIO.parse_location(location)[2]
