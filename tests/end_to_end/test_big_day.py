"""A large day is loaded with the memory of a small one."""

import msgspec
import pytest

from sync.engine.spool import Digest
from tests.support.processes import portal_process
from tests.support.scripted_vendor import build_run
from usage.models import EnvironmentUsage, SourceDay

SPARE_KIB = 20 * 1024


def measure_peaks(*records: int) -> list[int]:
    """Load a day of each number of records in one process; returns its peak memory in KiB after each."""
    with portal_process(["-m", "tests.support.load_big_day", *map(str, records)]) as process:
        assert process.wait(900) == 0
        return [int(line) for line in process.output().splitlines() if line.isdigit()]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_large_day_takes_no_more_memory_than_a_small_one() -> None:
    small, big = measure_peaks(10_000, 120_000)

    assert SourceDay.objects.get(source__slug="large-120000").records == 120_000
    assert EnvironmentUsage.objects.filter(source__slug="large-120000").count() == 120_000
    # Held in memory, so many records would take some 35 MiB.
    assert big < small + SPARE_KIB, f"{small} KiB for 10,000 records, {big} KiB for 120,000"


def test_a_set_digestdoes_not_depend_on_the_order_but_on_every_record() -> None:
    rows = [build_run(n) for n in range(100)]

    def digest(*pages) -> str:
        set_digest = Digest()
        for page in pages:
            set_digest.add([msgspec.msgpack.encode(record) for record in page])
        return set_digest.hexdigest()

    assert digest(rows) == digest(rows[::-1]) == digest(rows[50:], rows[:50])
    assert (
        len(
            {
                digest(rows),
                digest(rows[:99]),
                digest([*rows, rows[0]]),
                digest([*rows[:99], build_run(99, minutes=31)]),
                digest([]),
            }
        )
        == 5
    )
