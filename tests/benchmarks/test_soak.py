"""A soak's verdict: what stays flat passes, what goes on growing is found, and what grows by design is left out."""

from collections import Counter
from dataclasses import replace

from tests.benchmarks.samples import Held, Sample, TableSize, compare, split_quarters
from tests.benchmarks.soak_report import build, find_reason

PROGRAMS = ("web", "worker", "beat", "postgres", "valkey")


def sample(number: int) -> Sample:
    return Sample(
        minute=30.0 * (number + 1),
        held={name: Held(100, 80, 60, 20) for name in PROGRAMS},
        connections={"web.py": 4, "celery": 3},
        tables={
            "usage_source": TableSize(30, 10, 65536),
            "sync_loadattempt": TableSize(60 * number, 0, 8192 * number),
        },
        synced=15 * number,
        waiting=12,
        keys=5,
        logged=dict.fromkeys(PROGRAMS, 50.0),
    )


SAMPLES = [sample(number) for number in range(48)]


def list_missed(samples: list[Sample]) -> list[str]:
    report = build("18", samples, Counter({"200": 900}), 30, 1)
    return [aim.what for aim in report.aims if not aim.reached]


def test_a_portal_that_holds_as_much_in_the_evening_as_in_the_morning_passes_while_its_attempts_grow():
    assert list_missed(SAMPLES) == []
    assert "sync_loadattempt" in str(build("18", SAMPLES, Counter({"200": 900}), 30, 1))


def test_memory_that_grows_all_day_is_found_at_its_program():
    growing = [
        replace(sample, held=sample.held | {"worker": Held(100, 80 + n, 60, 20)}) for n, sample in enumerate(SAMPLES)
    ]
    assert list_missed(growing) == ["worker: memory, MiB, last / second quarter"]


def test_one_connection_more_than_in_the_second_quarter_is_found():
    leaking = [*SAMPLES[:36], *(replace(sample, connections={"web.py": 5, "celery": 3}) for sample in SAMPLES[36:])]
    assert list_missed(leaking) == ["connections, last / second quarter"]


def test_a_table_that_swells_with_its_dead_rows_is_found():
    swollen = [
        replace(sample, tables={**sample.tables, "usage_source": TableSize(30, 10 * n, 8192 * n)})
        for n, sample in enumerate(SAMPLES)
    ]
    assert list_missed(swollen) == [
        "dead rows, last / second quarter",
        "KiB of tables that are not to grow, last / second quarter",
    ]


def test_a_queue_that_was_long_once_in_the_last_quarter_is_found():
    waited = [*SAMPLES[:-1], replace(SAMPLES[-1], waiting=1000)]
    assert list_missed(waited) == ["messages waiting at most, last quarter"]


def test_a_portal_that_gets_to_none_of_its_work_does_not_pass_for_flat():
    idle = [replace(sample, synced=30) for sample in SAMPLES]
    assert list_missed(idle) == ["syncs of a source in a simulated hour, last quarter"]


def test_a_request_that_failed_is_found():
    report = build("18", SAMPLES, Counter({"200": 900, "503 GET /admin/": 1}), 30, 1)
    assert report.missed


def test_the_first_and_the_third_quarter_are_not_compared():
    early, late = split_quarters(SAMPLES)
    assert [sample.minute for sample in (early[0], early[-1], late[0], late[-1])] == [390, 720, 1110, 1440]
    assert compare(SAMPLES, lambda sample: sample.minute) == 1275 / 555
    assert compare(SAMPLES, lambda sample: float(sample.minute > 1000)) == float("inf")
    assert compare(SAMPLES, lambda _: 0.0) == 1


def test_the_partitions_of_a_table_that_grows_by_design_grow_by_design_too():
    assert find_reason("usage_recordrevision_2026_12") == "prune"
    assert find_reason("usage_environmentusage_2026_12") is None
