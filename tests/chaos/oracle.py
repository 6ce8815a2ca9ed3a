"""A second sandbox of the same history without a fault: which records the vendor has ever had of a day."""

from collections import defaultdict
from datetime import date
from typing import Any

from sync.sandbox.world import Edit
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import build_sandbox_url
from tests.support.vendor_truth import get_kind, read_stored, read_truth
from usage.models import Source, SourceDay

Amounts = dict[tuple[Any, ...], Any]


class Oracle:
    """Remembers every version of each of a vendor's days; `grown` once the faulty sandbox may have more records."""

    def __init__(self, sandbox: SandboxServer, vendor: str) -> None:
        self.sandbox = sandbox
        self.vendor = vendor
        url = build_sandbox_url(vendor, sandbox.url)
        self.source = Source(slug=f"oracle-{vendor}", vendor=vendor, base_url=url, credential="sandbox-key")
        self.versions: defaultdict[date, list[Amounts]] = defaultdict(list)
        self.grown = False

    def edit(self, vendor: str, on: date, edit: dict[str, Any]) -> None:
        """Restate a day of the fault-free sandbox, and remember it where it is the vendor's."""
        self.sandbox.world.edits[vendor, on] = Edit(**edit)
        if vendor == self.vendor:
            self.remember(on)

    def remember(self, on: date) -> None:
        """Add the current version of a day at the vendor."""
        amounts = self.pick_amounts(read_truth(self.source, on))
        if amounts not in self.versions[on]:
            self.versions[on].append(amounts)

    def pick_amounts(self, records: dict[tuple[Any, ...], tuple[Any, ...]]) -> Amounts:
        """Return the measures alone: a name may have been spoilt and stored as such."""
        kind = get_kind(self.source)
        indexes = [list(kind.row._fields).index(name) for name in kind.measures]  # type: ignore[attr-defined]
        return {key: tuple(record[index] for index in indexes) for key, record in records.items()}

    def describe(self, day: SourceDay) -> str:
        """Return how a stored day differs from all versions, in a sentence; empty where it equals one."""
        stored = self.pick_amounts(read_stored(day.source, day.day))
        if any(self.equals(version, stored) for version in self.versions[day.day]):
            return ""
        sizes = [len(version) for version in self.versions[day.day]]
        return f"{day} is called verified and holds {len(stored)} records that the vendor never had so: {sizes}"

    def equals(self, version: Amounts, stored: Amounts) -> bool:
        """Return whether stored records are a version's; records that the fault `growth` inserted are left aside."""
        comparable = {key: amount for key, amount in stored.items() if key in version} if self.grown else stored
        return comparable == version
