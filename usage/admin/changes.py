"""How much a restatement changed: per measure or unit, with sign and share, never one unit added to another."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage.admin.display import NOTHING, exact, rounded
from usage.admin.sums import counted
from usage.exactly import difference, to_places
from usage.models import Restatement

RECORDS = "records"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Change:
    """One number before and after; `name` is its measure or its unit. None stands for a number not known."""

    name: str
    before: Decimal | None
    after: Decimal | None

    @property
    def difference(self) -> Decimal:
        """After less before; what is not there counts as nothing."""
        return difference(self.after or Decimal(0), self.before or Decimal(0))

    @property
    def share(self) -> str:
        """The difference in percent of what was before: `+0.6 %`; `new` where there was nothing before."""
        if not self.before:
            return "new" if self.after else ""
        percent = self.difference * 100 / abs(self.before)
        if percent and abs(percent) < Decimal("0.1"):
            return f"{'+' if percent > 0 else MINUS}less than 0.1 %"
        return f"{signed(to_places(percent, 1))} %"

    @property
    def words(self) -> str:
        """The difference as it is read at a glance, and its share: `+9 minutes (+0.6 %)`."""
        share = f" ({self.share})" if self.share and self.difference else ""
        return f"{sign_of(self.difference)}{rounded(self.difference.copy_abs())} {self.name}{share}"

    @property
    def whole(self) -> str:
        """Both numbers, as they are read at a glance: `1,440 → 1,449`."""
        return " → ".join(NOTHING if one is None else rounded(one) for one in (self.before, self.after))


def signed(number: Decimal) -> str:
    """Return a number with its sign: `+9`, `−1,204.5`, `±0`."""
    return f"{sign_of(number)}{exact(number.copy_abs())}"


def sign_of(number: Decimal) -> str:
    """Return the sign of a number, that of nought too."""
    return ("+" if number > 0 else MINUS) if number else "±"


def changes_of(restatement: Restatement) -> list[Change]:
    """Return what became of the records and of every sum, the sums in the order of their names."""
    before, after = restatement.sums_before, restatement.sums_after
    return [
        Change(RECORDS, Decimal(restatement.records_before), Decimal(restatement.records_after)),
        *(
            Change(counted(name), number(before, name), number(after, name))
            for name in sorted(before.keys() | after.keys())
        ),
    ]


def number(sums: Mapping[str, str], name: str) -> Decimal | None:
    """Return one of a day's sums, None where there is none of that name."""
    return Decimal(sums[name]) if sums.get(name) is not None else None


def in_lines(changes: list[Change]) -> SafeString | str:
    """Return the sums that differ, one a line, rounded: the difference and its share, what it was and what it is."""
    told = [change for change in changes if change.difference]
    if not told:
        return format_html('<span class="quiet">{}</span>', "the same sums")
    return format_html_join(
        "", '<div class="change"><b>{}</b> <span class="quiet">{}</span></div>', ((c.words, c.whole) for c in told)
    )


def affected(restatement: Restatement) -> str:
    """Return how many records did what: `2 new, 5 changed, 1 withdrawn`; `–` for none."""
    counts = {
        "new": restatement.inserted,
        "changed": restatement.changed,
        "withdrawn": restatement.withdrawn,
        "returned": restatement.returned,
        "moved to another day": restatement.moved,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or NOTHING
