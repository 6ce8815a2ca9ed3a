"""A record that loses its id, or gets one, stays the record it was."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from sync.engine.nameless import Nameless, NamelessStatements, adopt_ids, name_records
from sync.models import LoadAttempt
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, read_day
from usage.models import DayState, EnvironmentRow, EnvironmentUsage, ResourceUsage, Source, SourceDay
from usage.revisions import list_revisions

pytestmark = pytest.mark.django_db
SPOOL = "pg_temp.nameless_spool"
COLUMNS = (
    "record_id text, environment_id text, project_id text, user_id text, runner_id text, environment_class_id text, "
    "created_at timestamptz, stopped_at timestamptz, extra text"
)


def fill_spool(rows: Sequence[EnvironmentRow]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS {SPOOL}")
        cursor.execute(f"CREATE TEMPORARY TABLE nameless_spool ({COLUMNS}) ON COMMIT DROP")
        cursor.executemany(f"INSERT INTO {SPOOL} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", rows)


def read_spool() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT record_id FROM {SPOOL}")
        return sorted(record_id for (record_id,) in cursor.fetchall())


def build_where(source: Source) -> dict[str, Any]:
    day = SourceDay.objects.get(source=source, day=DAY)
    return {"source": source.pk, "day": DAY, "starts": day.starts_at, "ends": day.ends_at}


def store(source: Source, listing: Listing, *rows: EnvironmentRow) -> None:
    listing.records[DAY] = list(rows)
    read_day(source)


def adopt(source: Source, *rows: EnvironmentRow) -> Nameless:
    fill_spool(rows)
    return adopt_ids(EnvironmentUsage, SPOOL, build_where(source))


def assign_names(source: Source, *, keep_old: bool = True) -> int:
    return name_records(EnvironmentUsage, SPOOL, build_where(source), keep_old=keep_old)


def build_nameless(number: int, digest: str = "", **values: Any) -> EnvironmentRow:
    """Return run `number` as it is read without its id."""
    return build_run(number, record_id=digest or f"~{number}", **values)


# Rows without an id.


def test_a_run_that_comes_without_its_id_keeps_it(source: Source, listing: Listing) -> None:
    store(source, listing, *(build_run(n, extra='{"cost": 1.50, "a": [1]}') for n in range(5)))
    rows = [build_run(n, extra='{"a":[1],"cost":1.5}') for n in range(4)]
    assert adopt(source, *rows, build_nameless(4, extra='{"a":[1],"cost":1.5}')) == Nameless(adopted=1)
    assert read_spool() == [f"run-{n}" for n in range(5)]


@pytest.mark.parametrize(
    "change",
    [
        {"environment_id": "other"},
        {"project_id": "other"},
        {"user_id": "other"},
        {"runner_id": "other"},
        {"environment_class_id": "other"},
        {"created_at": None},
        {"minutes": 31},
        {"extra": '{"a": 1}'},
    ],
)
def test_a_run_that_differs_in_anything_else_is_another_and_told_beside_what_vanished(
    source: Source, listing: Listing, change: dict[str, Any]
) -> None:
    store(source, listing, build_run(1), build_run(2))
    assert adopt(source, build_run(1), build_nameless(2, **change)) == Nameless(unmatched=1, vanished=1)
    assert read_spool() == ["run-1", "~2"]


def test_a_run_whose_start_was_never_told_keeps_its_id_too(source: Source, listing: Listing) -> None:
    store(source, listing, build_run(1, created_at=None), build_run(2))
    assert adopt(source, build_nameless(1, created_at=None), build_run(2)) == Nameless(adopted=1)
    assert read_spool() == ["run-1", "run-2"]


def test_equal_runs_each_keep_an_id_of_their_own(source: Source, listing: Listing) -> None:
    store(source, listing, *(build_run(1, record_id=f"run-{letter}") for letter in "abc"))
    result = adopt(
        source, build_run(1, record_id="run-b"), build_nameless(1), build_nameless(1, "~1-2"), build_nameless(1, "~1-3")
    )
    assert result == Nameless(adopted=2, unmatched=1)
    assert read_spool() == ["run-a", "run-b", "run-c", "~1-3"]


def test_a_run_that_was_stored_without_an_id_stays_what_it_is(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1), build_run(1, record_id="run-a"))
    assert adopt(source, build_nameless(1)) == Nameless(vanished=1)
    assert read_spool() == ["~1"]


def test_a_run_without_an_id_that_is_spelt_otherwise_keeps_its_name(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1, "~first"))
    assert adopt(source, build_nameless(1, "~second")) == Nameless(adopted=1)
    assert read_spool() == ["~first"]


def test_a_withdrawn_run_and_one_of_another_day_lend_no_id(source: Source, listing: Listing) -> None:
    store(source, listing, build_run(1), build_run(2), build_run(3))
    EnvironmentUsage.objects.filter(record_id="run-1").update(withdrawn_at=datetime.now().astimezone())
    EnvironmentUsage.objects.filter(record_id="run-2").update(day=DAY + timedelta(days=1))
    assert adopt(source, build_run(3), build_nameless(1), build_nameless(2)) == Nameless(unmatched=2)


def test_new_runs_without_an_id_are_nothing_to_doubt_while_none_vanishes(source: Source, listing: Listing) -> None:
    store(source, listing, build_run(1))
    assert adopt(source, build_run(1), build_nameless(2), build_nameless(3)) == Nameless(unmatched=2)


# Records that were stored without an id.


def test_a_run_that_was_stored_without_an_id_gets_it_and_stays_one_record(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1), build_run(2))
    before = EnvironmentUsage.objects.get(record_id="~1")
    assert adopt(source, build_run(1), build_run(2), build_run(3)) == Nameless(new_ids=1)
    assert EnvironmentUsage.objects.get(pk=before.pk).record_id == "~1"

    assert assign_names(source) == 1
    after = EnvironmentUsage.objects.get(pk=before.pk)
    assert (after.record_id, after.revision, after.first_seen_at) == ("run-1", 2, before.first_seen_at)
    assert after.changed_at > before.changed_at
    (revision,) = list_revisions(after)
    assert [(change.field, change.old, change.new) for change in revision.changes] == [("record_id", "~1", "run-1")]
    assert adopt(source, build_run(1), build_run(2), build_run(3)) == Nameless()
    assert assign_names(source) == 0


def test_of_a_day_that_was_not_over_no_revision_is_kept(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1))
    adopt(source, build_run(1))
    assert assign_names(source, keep_old=False) == 1
    assert list_revisions(EnvironmentUsage.objects.get()) == []


def test_an_id_that_another_record_has_is_not_given_a_second_time(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1), build_run(1), build_run(2))
    EnvironmentUsage.objects.filter(record_id="run-1").update(withdrawn_at=datetime.now().astimezone())
    assert adopt(source, build_run(1), build_run(2)) == Nameless(vanished=1)
    assert assign_names(source) == 0


def test_equal_runs_get_as_many_ids_as_were_read(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1), build_nameless(1, "~1-2"), build_nameless(1, "~1-3"))
    assert adopt(source, build_run(1, record_id="run-a"), build_run(1, record_id="run-b")) == Nameless(
        vanished=1, new_ids=2
    )
    assert assign_names(source) == 2
    names = EnvironmentUsage.objects.values_list("record_id", flat=True)
    assert sorted(names) == ["run-a", "run-b", "~1-3"]


def test_one_run_may_lose_its_id_while_another_gets_one(source: Source, listing: Listing) -> None:
    store(source, listing, build_run(1), build_nameless(2), build_run(3, record_id="run-x"), build_nameless(3))
    result = adopt(
        source, build_nameless(1), build_run(2), build_nameless(3, "~other"), build_run(3, record_id="run-y")
    )
    assert result == Nameless(adopted=2, new_ids=2)
    assert assign_names(source) == 2
    assert read_spool() == sorted(EnvironmentUsage.objects.values_list("record_id", flat=True))


def test_a_read_that_is_not_believed_has_changed_no_record(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1), build_run(2))
    before = list(EnvironmentUsage.objects.order_by("pk").values())
    adopt(source, build_run(1), build_nameless(2))
    assert list(EnvironmentUsage.objects.order_by("pk").values()) == before


# What it costs.


def test_a_read_with_an_id_in_every_record_costs_one_look(
    source: Source, listing: Listing, django_assert_num_queries: Any
) -> None:
    store(source, listing, build_run(1), build_run(2))
    fill_spool([build_run(1), build_run(3)])
    where = build_where(source)
    with django_assert_num_queries(1):
        assert adopt_ids(EnvironmentUsage, SPOOL, where) == Nameless()
    with django_assert_num_queries(0):
        assert adopt_ids(ResourceUsage, SPOOL, where) == Nameless()
        assert name_records(ResourceUsage, SPOOL, where, keep_old=True) == 0


def test_a_day_whose_runs_all_lose_their_ids_is_joined_once_and_not_run_by_run(
    source: Source, listing: Listing
) -> None:
    store(source, listing, *(build_run(n) for n in range(500)))
    assert adopt(source, *(build_nameless(n) for n in range(500))) == Nameless(adopted=500)
    with connection.cursor() as cursor:
        sql = NamelessStatements(EnvironmentUsage, SPOOL)
        cursor.execute(f"EXPLAIN {sql.adopt}", build_where(source) | {"prefix": "~"})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    # Each record looked up in the whole spool is a nested loop over it: its cost grows with the square of the day.
    assert "Full Join" in plan
    assert plan.count("Seq Scan on nameless_spool") <= 2


def test_a_run_that_gets_its_id_and_has_other_digits_is_one_change(source: Source, listing: Listing) -> None:
    store(source, listing, build_nameless(1, extra='{"size": 1.50}'))
    listing.records[DAY] = [build_run(1, extra='{"size": 1.5}')]

    attempt = read_day(source)

    assert (attempt.outcome, attempt.changed, attempt.unchanged) == (LoadAttempt.Outcome.LOADED, 1, 0)


# Days that are read.


def test_a_read_in_which_a_run_lacks_its_id_changes_nothing(source: Source, listing: Listing) -> None:
    store(source, listing, *(build_run(n) for n in range(5)))
    store(source, listing, *(build_run(n) for n in range(4)), build_nameless(4))
    attempt = LoadAttempt.objects.latest("pk")
    assert (attempt.inserted, attempt.changed, attempt.withdrawn, attempt.unchanged) == (0, 0, 0, 5)
    assert get_revisions(source) == {f"run-{n}": 1 for n in range(5)}


def test_a_run_without_an_id_beside_one_that_vanished_is_held_back_until_a_second_read_agrees(
    source: Source, listing: Listing
) -> None:
    store(source, listing, *(build_run(n) for n in range(5)))
    store(source, listing, *(build_run(n) for n in range(4)), build_nameless(4, user_id="other"))
    day = SourceDay.objects.get()
    assert day.state == DayState.SUSPECT
    assert "1 of the 5 stored would be withdrawn, beside records without an id." in day.error
    assert get_revisions(source) == {f"run-{n}": 1 for n in range(5)}
    read_day(source)
    assert get_revisions(source) == {**{f"run-{n}": 1 for n in range(4)}, "~4": 1}
