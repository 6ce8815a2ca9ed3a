"""How much a restatement changed: per measure or unit, with sign and share; different units are never added."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from usage.admin.sums import format_sum, get_sum_label, scale_sum
from usage.decimals import subtract_exactly
from usage.formatting import MINUS, NOTHING, format_number, format_percent, get_sign
from usage.models import Restatement

RECORDS = "records"
SMALLEST_SHARE = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class SumChange:
    """One number before and after a restatement; `key` is its measure or its unit. None: unknown."""

    key: str
    before: Decimal | None
    after: Decimal | None

    @property
    def name(self) -> str:
        """The unit or label after its number."""
        return RECORDS if self.key == RECORDS else get_sum_label(self.key)

    @property
    def difference(self) -> Decimal:
        """After less before; an unknown number counts as 0."""
        return subtract_exactly(self.after or Decimal(0), self.before or Decimal(0))

    @property
    def share(self) -> str:
        """The difference as a percentage of the number before: `+0.6 %`; `new` where the number before is 0."""
        if not self.before:
            return "new" if self.after else ""
        share = self.difference / abs(self.before)
        if share and abs(share) < SMALLEST_SHARE:
            return f"{'+' if share > 0 else MINUS}less than 0.1 %"
        return format_percent(share, signed=True) if share else "±0 %"

    @property
    def text(self) -> str:
        """The rounded difference and its share: `+0.15 h (+0.6 %)`."""
        share = f" ({self.share})" if self.share and self.difference else ""
        size = self.difference.copy_abs()
        amount = f"{format_number(size)} {RECORDS}" if self.key == RECORDS else format_sum(self.key, size)
        return f"{get_sign(self.difference)}{amount}{share}"

    @property
    def before_and_after(self) -> str:
        """Both numbers rounded, `24 h → 26.2 h`; with all their digits where they would read the same."""
        before, after = (scale_sum(self.key, number) for number in (self.before, self.after))
        if str(before) == str(after) and self.difference:
            return f"{before.exact or before} → {after.exact or after}"
        return f"{before} → {after}"


def compare_sums(restatement: Restatement) -> list[SumChange]:
    """Return the change of the number of records and of every sum, the sums in the order of their names."""
    before, after = restatement.sums_before, restatement.sums_after
    return [
        SumChange(RECORDS, Decimal(restatement.records_before), Decimal(restatement.records_after)),
        *(
            SumChange(name, get_sum(before, name), get_sum(after, name))
            for name in sorted(before.keys() | after.keys())
        ),
    ]


def get_sum(sums: Mapping[str, str], name: str) -> Decimal | None:
    """Return a sum of a day by its name, None for a missing one."""
    return Decimal(sums[name]) if sums.get(name) is not None else None


def render_differences(changes: list[SumChange]) -> SafeString | str:
    """Return the sums that differ, one a line, rounded: the difference and its share, the number before and after."""
    lines = [(change.text, change.before_and_after) for change in changes if change.difference]
    if not lines:
        return format_html('<span class="quiet">{}</span>', "the same sums")
    return format_html_join("", '<div class="change"><b>{}</b> <span class="quiet">{}</span></div>', lines)


def describe_affected(restatement: Restatement) -> str:
    """Return how many records changed how: `2 new, 5 changed, 1 withdrawn`; `–` for none."""
    counts = {
        "new": restatement.inserted,
        "changed": restatement.changed,
        "withdrawn": restatement.withdrawn,
        "returned": restatement.returned,
        "moved to another day": restatement.moved,
    }
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or NOTHING
