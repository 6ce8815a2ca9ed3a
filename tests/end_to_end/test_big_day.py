"""A day of a million records is loaded with the memory of a small one."""

import msgspec
import pytest

from sync.engine.spool import Digest
from tests.support.processes import portal_process
from tests.support.scripted_vendor import row
from usage.models import EnvironmentUsage, SourceDay

SPARE_KIB = 40 * 1024


def peak(records: int) -> int:
    """Load a day of so many records in a process of its own; returns that process's peak memory in KiB."""
    with portal_process(["-m", "tests.support.load_big_day", str(records)]) as process:
        assert process.wait(900) == 0
        return int(process.output().strip().splitlines()[-1])


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_day_of_a_million_records_takes_no_more_memory_than_one_of_twenty_thousand() -> None:
    small = peak(20_000)
    big = peak(1_000_000)

    assert SourceDay.objects.get(source__slug="million-1000000").records == 1_000_000
    assert EnvironmentUsage.objects.filter(source__slug="million-1000000").count() == 1_000_000
    # Held in memory, a million such records would take some 600 MiB.
    assert big < small + SPARE_KIB, f"{small} KiB for 20,000 records, {big} KiB for 1,000,000"


def test_a_digest_does_not_depend_on_the_order_but_on_every_record() -> None:
    rows = [row(n) for n in range(100)]

    def digest(*pages) -> str:
        made = Digest()
        for page in pages:
            made.add([msgspec.msgpack.encode(record) for record in page])
        return made.hexdigest()

    assert digest(rows) == digest(rows[::-1]) == digest(rows[50:], rows[:50])
    assert (
        len(
            {
                digest(rows),
                digest(rows[:99]),
                digest([*rows, rows[0]]),
                digest([*rows[:99], row(99, minutes=31)]),
                digest([]),
            }
        )
        == 5
    )
