"""Once a day: drop old tags and snapshots, remove files that nothing names, and compact closed months."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import chain, groupby
from typing import Any, Final

import structlog
from pyarrow.fs import FileSelector, FileSystem
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from usage.exports.formats.parquet import build_schema
from usage.lake.catalog import Lake, get_lake_columns
from usage.lake.files import (
    MAX_MANIFESTS,
    commit_files,
    get_days,
    list_files,
    list_manifests,
    read_file,
    write_file,
)
from usage.lake.storage import LakeFileIO
from usage.lake.tags import SNAPSHOT_OF, drop_old_tags, name_tag

logger = structlog.get_logger(__name__)

# A running reader continues with the files of its snapshot, and a publisher commits what it has written.
KEEP_SNAPSHOTS: Final = timedelta(days=1)
KEEP_FILES: Final = timedelta(days=1)
# Files of one source and a closed month are joined up to this number of rows. A day that is published again later
# rewrites its file, so it must not be too large.
COMPACTED_ROWS: Final = 2_000_000
MAX_COMPACTED_ROWS: Final = 10_000_000  # in one run


def is_due(lake: Lake, now: datetime) -> bool:
    """Return whether nothing was published yet today: the tag of the day is missing."""
    return name_tag(now) not in lake.days.metadata.refs


def maintain(lake: Lake, now: datetime) -> None:
    """Run every step; a failure stops no other step, is raised at the end, and the next publisher repeats the step."""
    today = now.astimezone(UTC).date()
    steps: list[Callable[[], None]] = [
        *(partial(compact, table, build_schema(get_lake_columns(kind)), today) for kind, table in lake.usage.items()),
        *(partial(drop_old_tags, table, now) for table in lake.tables),
        *(partial(clean_up, table, now) for table in lake.tables),
    ]
    failures = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # whatever a file system or a catalog raises
            failures.append(error)
    if failures:
        raise ExceptionGroup("The lake is not maintained as a whole", failures)


def clean_up(table: Table, now: datetime) -> None:
    """Drop old snapshots of a table, and the files that none names. The current snapshot and its files stay."""
    drop_dead_manifests(table)
    table.maintenance.expire_snapshots().older_than(now - KEEP_SNAPSHOTS).commit()
    removed = remove_orphans(table, now - KEEP_FILES)
    logger.info("lake table maintained", table=".".join(table.name()), removed=removed)


def drop_dead_manifests(table: Table) -> None:
    """Drop the manifests that only name removed files, where they are many.

    Every exchange of files leaves such a manifest, and pyiceberg's next exchange keeps it; its appends do not.
    """
    current = table.current_snapshot()
    if current is None or len(list_manifests(table, has_files=False)) <= MAX_MANIFESTS:
        return
    properties = current.summary.additional_properties if current.summary else {}
    # The snapshots that a snapshot of `days` describes stay the same.
    described = {name: value for name, value in properties.items() if name.startswith(SNAPSHOT_OF)}
    with table.transaction() as staged, staged.update_snapshot(snapshot_properties=described).fast_append():
        pass


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
        commit_files(table, old, new, {"usage-portal.compaction": "true"})


def list_groups(table: Table, today: date) -> Iterator[list[DataFile]]:
    """Yield files of one source and one closed month that become one, in the order of their days.

    A month is closed from the second month after it on: its days were read for the last time by then, mostly.
    """
    first_open = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
    dated_files = sorted(
        ((file.partition[0], get_days(table, file), file) for file in list_files(table)),
        key=lambda dated_file: dated_file[:2],
    )
    closed = (dated_file for dated_file in dated_files if dated_file[1][1] < first_open)
    for _, month in groupby(closed, key=lambda dated_file: (dated_file[0], dated_file[1][0].replace(day=1))):
        yield from (group for group in split_group([file for _, _, file in month]) if len(group) > 1)


def split_group(files: list[DataFile]) -> Iterator[list[DataFile]]:
    """Yield consecutive files that have COMPACTED_ROWS together at most."""
    group: list[DataFile] = []
    for file in files:
        if group and sum(member.record_count for member in group) + file.record_count > COMPACTED_ROWS:
            yield group
            group = []
        group.append(file)
    yield group


def remove_orphans(table: Table, before: datetime) -> int:
    """Delete the files in the table's folder that no snapshot names and that are older; returns how many.

    Raises RuntimeError where a named file is not in the folder: then the two lists do not compare.
    """
    referenced = {strip_scheme(path) for path in list_referenced(table)}
    file_system, folder = open_folder(table)
    file_infos = file_system.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    if missing := referenced - {info.path for info in file_infos}:
        raise RuntimeError(f"{len(missing)} files of the lake are not in {folder}, such as {min(missing)}.")
    orphans = [info.path for info in file_infos if info.is_file and info.path not in referenced and info.mtime < before]
    for path in orphans:
        file_system.delete_file(path)
    return len(orphans)


def open_folder(table: Table) -> tuple[FileSystem, str]:
    """Return the file system of a table, and its folder there."""
    scheme, host, path = LakeFileIO.parse_location(table.location())
    assert isinstance(table.io, LakeFileIO)  # noqa: S101
    return table.io.fs_by_scheme(scheme, host), path


def list_referenced(table: Table) -> Iterator[str]:
    """Yield every file that the current metadata leads to."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    seen_paths = set()
    for snapshot in table.metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in seen_paths:
                seen_paths.add(manifest.manifest_path)
                yield manifest.manifest_path
                yield from (entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io))


def strip_scheme(location: str) -> str:
    """Return a location as its file system names it."""
    return LakeFileIO.parse_location(location)[2]
