"""The benchmarks run, and say what they found; what they find at this size means nothing."""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from portal.environment import BASE_DIR
from sync.vendors.ona.mapping import parse_page
from tests.benchmarks.__main__ import main
from tests.benchmarks.contenders import floor
from tests.benchmarks.report import Aim, Report, Table
from usage.days import Day


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of a quick run; its output is in `printed`.

    The others serve, ask, merge and count as these do, and `soak` lives for minutes; they are left to `make bench`.
    """
    folder = tmp_path_factory.mktemp("benchmarks")
    # It has servers of its own.
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    command = [sys.executable, "-m", "tests.benchmarks", "ona-load", "ask-1m", "scale", "--quick", "--out", str(folder)]
    ran = subprocess.run(command, cwd=BASE_DIR, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (folder / "printed").write_text(ran.stdout)
    return folder


@pytest.mark.slow
def test_a_quick_run_races_everybody_and_writes_what_it_found(results: Path):
    report_text = (results / "ona-load.md").read_text()
    assert report_text.strip() in (results / "printed").read_text()
    for contender in ("portal, 1 worker", "portal, 4 workers", "unchanged days again", "dlt rest_api", "floor"):
        assert contender in report_text
    result = json.loads((results / "ona-load.json").read_text())
    for race in ("plain", "latency"):
        for costs in result["figures"][race].values():
            assert all(cost["records"] == 600 and cost["wall"] > 0 and cost["cpu"] > 0 for cost in costs)
    assert result["figures"]["memory"]["large"]["records"] == 2000
    assert len(result["aims"]) == 9
    assert {"measured", "machine", "versions", "rows", "rounds"} <= result["facts"].keys()


@pytest.mark.slow
def test_a_quick_run_asks_and_compares_the_answers(results: Path):
    report_text = (results / "ask-1m.md").read_text()
    for contender in ("stock DRF", "floor", "page at row", "django-import-export", "plain SQL"):
        assert contender in report_text
    figures = json.loads((results / "ask-1m.json").read_text())["figures"]
    kind = "environment-usage"
    assert all(part.keys() == {kind} for part in figures.values())
    assert all(load["requests"] > 0 for turn in figures["Lists"][kind]["100"] for load in turn.values())
    assert figures["CSV"][kind]["rows"] == 3200 - 32  # one of each day is withdrawn
    assert figures["Month x project"][kind]["groups"] > 0


@pytest.mark.slow
def test_a_quick_run_merges_asks_and_verifies(results: Path):
    result = json.loads((results / "scale.json").read_text())
    figures = result["figures"]
    assert all(len(times) == 1 for reads in figures["merged"].values() for times in reads.values())
    assert all(len(times) == 2 for questions in figures["asked"].values() for times in questions.values())
    assert figures["sizes"]["heap"][0] > 4000 * 200
    assert {"resourceusage_once", "resourceusage_search"} <= figures["sizes"].keys()
    assert figures["verified"]["days"] == 60
    assert len(result["aims"]) == 9


def test_the_floor_of_loading_stores_the_rows_that_the_portal_stores():
    times = [
        ("2026-05-01T09:00:00Z", "2026-05-01T10:00:00.123456Z"),
        ("2026-05-01T09:00:00.123456789Z", "2026-05-01T10:00:00Z"),
        ("2026-05-01T09:00:00.123456001Z", "2026-05-01T10:00:00.999999999Z"),
    ]
    ids = {"environmentId": "e", "projectId": "p", "userId": "u", "runnerId": "r", "environmentClassId": "c"}
    records = [
        {"id": f"run-{number}", "createdAt": created, "stoppedAt": stopped, **ids}
        for number, (created, stopped) in enumerate(times)
    ]
    records.append({"id": "run-without-start", "stoppedAt": "2026-05-01T10:00:00Z"})
    body = msgspec.json.encode({"records": records, "pagination": {}})
    page, _ = parse_page(body, Day.containing(datetime(2026, 5, 1, tzinfo=UTC), "UTC"), Counter())
    assert [row[-1] is None for row in page.rows] == [True, False, False, True]
    assert floor.build_rows(msgspec.json.decode(body, type=floor.Answer).records) == page.rows


def test_an_unknown_benchmark_is_refused_and_the_help_names_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as exit_info:
        main(["speed"])
    assert exit_info.value.code == 2
    assert "there is no benchmark speed" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "ona-load" in capsys.readouterr().out


def report(measured: float, *, judged: bool = True) -> Report:
    aims = [Aim("twice as fast", measured, 2, at_least=True), Aim("half as large", 0.4, 0.5)]
    table = Table("Speed", ("", "rows/s"), [("ours", "12"), ("theirs", "6")])
    return Report("speed", "Speed", {"rows": "12"}, [table], aims, {}, judged)


def test_an_aim_is_passed_or_missed_and_a_missed_one_shows_in_the_result():
    assert not report(2.5).missed
    assert report(1.5).missed
    assert "| twice as fast |  at least 2 |     1.50 |    MISS |" in str(report(1.5))
    assert "| half as large | at most 0.5 |     0.40 |    pass |" in str(report(1.5))


def test_sizes_too_small_to_tell_miss_nothing():
    assert not report(1.5, judged=False).missed
    assert "too small to tell" in str(report(1.5, judged=False))


def test_a_table_is_markdown_with_its_numbers_to_the_right():
    (table,) = report(2).tables
    assert str(table).splitlines()[2:] == [
        "|        | rows/s |",
        "| ------ | -----: |",
        "| ours   |     12 |",
        "| theirs |      6 |",
    ]
