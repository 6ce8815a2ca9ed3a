"""Tags: the last snapshot of each calendar day (UTC), named by its date, for PORTAL_LAKE_TAG_DAYS.

The tags of `days` are authoritative. A snapshot of `days` names the snapshots of the other tables that it describes,
and these get the same tags, also where a publisher was killed before it had set them.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.conf import settings
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType

from usage.datetimes import is_date
from usage.lake.catalog import Lake, get_table_name

SNAPSHOT_OF: Final = "usage-portal.snapshot."


def get_tag_age() -> int:
    """Return how long a tag is kept, in milliseconds."""
    return int(settings.PORTAL_LAKE_TAG_DAYS) * 86_400_000


def name_tag(now: datetime) -> str:
    """Return the name of the tag of a calendar day."""
    return now.astimezone(UTC).date().isoformat()


def list_tags(table: Table) -> dict[str, int]:
    """Return the ids of the tagged snapshots by the tags' names."""
    refs = table.metadata.refs.items()
    return {name: ref.snapshot_id for name, ref in refs if ref.snapshot_ref_type == SnapshotRefType.TAG}


def align_tags(lake: Lake) -> None:
    """Give each table of usage the tags that `days` has, at the snapshots that it names."""
    for kind, table in lake.usage.items():
        snapshot_ids = {
            tag: snapshot_id
            for tag, days_snapshot_id in list_tags(lake.days).items()
            if (snapshot_id := get_described(lake.days, days_snapshot_id, get_table_name(kind))) is not None
        }
        set_tags(table, snapshot_ids)


def get_described(days: Table, snapshot_id: int, name: str) -> int | None:
    """Return the id of the snapshot of a table that a snapshot of `days` describes."""
    snapshot = days.metadata.snapshot_by_id(snapshot_id)
    described_id = (
        snapshot.summary.additional_properties.get(SNAPSHOT_OF + name) if snapshot and snapshot.summary else None
    )
    return int(described_id) if described_id else None


def set_tags(table: Table, snapshot_ids: dict[str, int]) -> None:
    """Set the tags that differ, in one commit."""
    current = list_tags(table)
    existing_ids = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
    missing = {
        tag: snapshot_id
        for tag, snapshot_id in snapshot_ids.items()
        if current.get(tag) != snapshot_id and snapshot_id in existing_ids
    }
    if missing:
        with table.manage_snapshots() as manage:
            for tag, snapshot_id in missing.items():
                manage.create_tag(snapshot_id, tag, max_ref_age_ms=get_tag_age())


def drop_old_tags(table: Table, now: datetime) -> None:
    """Remove the tags of days before those that are kept."""
    first = now.astimezone(UTC).date() - timedelta(days=settings.PORTAL_LAKE_TAG_DAYS)
    # Other tags than those of days are not the portal's, and stay.
    old = [name for name in list_tags(table) if is_date(name) and date.fromisoformat(name) < first]
    if old:
        with table.manage_snapshots() as manage:
            for name in old:
                manage.remove_tag(name)
