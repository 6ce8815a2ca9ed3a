"""Store the names that a read of a source returned: new, changed and gone names."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from django.db.models import F
from django.db.models.functions import Now

from usage.directory.pseudonyms import build_pseudonym
from usage.models import PERSONS, DirectoryEntry, NameKind, RecipeUsage, Source, UsageRecord

BATCH: Final = 1000
Key = tuple[str, str]  # kind and vendor id
# The columns that a read sets.
READ_COLUMNS: Final = ("name", "email", "team_ids", "group_ids")
# Names that come with the records of a kind, by what they are of: the columns of the id and of its name.
NAMED_IDS: Final[dict[type[UsageRecord], dict[NameKind, tuple[str, str]]]] = {
    RecipeUsage: {NameKind.FOLDER: ("folder_id", "folder_name"), NameKind.RECIPE: ("recipe_id", "recipe_name")},
}


@dataclass(frozen=True, slots=True)
class ReadName:
    """A name as it was read; None for unknown memberships: the stored memberships stay."""

    kind: NameKind
    vendor_id: str
    name: str
    email: str = ""
    team_ids: list[str] | None = None
    group_ids: list[str] | None = None
    is_gone: bool = False

    def build_columns(self, stored: DirectoryEntry | None) -> dict[str, Any]:
        """Return the values of READ_COLUMNS."""
        return {
            "name": self.name,
            "email": self.email,
            "team_ids": (stored.team_ids if stored else []) if self.team_ids is None else self.team_ids,
            "group_ids": (stored.group_ids if stored else []) if self.group_ids is None else self.group_ids,
        }


@dataclass
class NameChanges:
    """How many names were added, changed, confirmed, gone and back."""

    inserted: list[DirectoryEntry] = field(default_factory=list)
    changed: list[DirectoryEntry] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    gone: list[int] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserted or self.changed or self.gone or self.returned)


def store_names(source: Source, names: Iterable[ReadName], complete: Collection[NameKind]) -> NameChanges:
    """Store names of a source and return what changed; inside a transaction that holds the source's directory.

    `complete`: the kinds of which `names` has all; an entry that it lacks is gone.
    """
    stored = {(entry.kind, entry.vendor_id): entry for entry in DirectoryEntry.objects.filter(source=source)}
    changes, read_keys = NameChanges(), set[Key]()
    for name in names:
        key = (str(name.kind), name.vendor_id)
        if key not in read_keys:  # a listing that changed while it was read may give a name twice
            read_keys.add(key)
            compare_name(source, name, stored.get(key), changes)
    for key, entry in stored.items():
        if key not in read_keys and entry.kind in complete and entry.gone_at is None:
            changes.gone.append(entry.pk)
    write_changes(changes)
    return changes


def compare_name(source: Source, name: ReadName, stored: DirectoryEntry | None, changes: NameChanges) -> None:
    """Add a name to the changes that it belongs to."""
    columns = name.build_columns(stored)
    if stored is None:
        pseudonym = build_pseudonym(name.vendor_id) if name.kind in PERSONS else ""
        entry = DirectoryEntry(source=source, kind=name.kind, vendor_id=name.vendor_id, pseudonym=pseudonym, **columns)
        entry.gone_at = Now() if name.is_gone else None
        changes.inserted.append(entry)
        return
    changes.seen.append(stored.pk)
    if name.is_gone != (stored.gone_at is not None):
        (changes.gone if name.is_gone else changes.returned).append(stored.pk)
    if any(getattr(stored, column) != value for column, value in columns.items()):
        for column, value in columns.items():
            setattr(stored, column, value)
        changes.changed.append(stored)


def write_changes(changes: NameChanges) -> None:
    """Write all changes."""
    entries = DirectoryEntry.objects
    entries.bulk_create(changes.inserted, batch_size=BATCH)
    entries.bulk_update(changes.changed, READ_COLUMNS, batch_size=BATCH)
    entries.filter(pk__in=changes.seen).update(last_seen_at=Now())
    entries.filter(pk__in=changes.returned).update(gone_at=None)
    entries.filter(pk__in=changes.gone).update(gone_at=Now())


def iterate_names_in_usage(kind: type[UsageRecord], source: Source, since: date) -> Iterator[ReadName]:
    """Yield the latest names that records of `since` or later give to ids of which no listing has the names."""
    for name_kind, (id_column, name_column) in NAMED_IDS.get(kind, {}).items():
        rows = kind.objects.filter(source=source, day__gte=since, **{f"{id_column}__isnull": False})
        latest = rows.exclude(**{name_column: ""}).order_by(id_column, F(kind.instant).desc()).distinct(id_column)
        for identifier, name in latest.values_list(id_column, name_column):
            yield ReadName(name_kind, str(identifier), name)
