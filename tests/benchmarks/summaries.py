"""Month × project summaries: the portal over HTTP beside the plain SQL aggregate over the records, numbers compared."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

import psycopg

from tests.benchmarks.contenders.columns import ORDER, table
from tests.benchmarks.ground import TEN_MILLION, Findings, Ground
from tests.benchmarks.report import Aim
from tests.benchmarks.serving import Served

COLUMNS = ("summary", "groups", "seconds", "the plain aggregate takes longer by")
REPEATS = 5
Groups = dict[tuple[str, ...], tuple[Decimal, ...]]


@dataclass(frozen=True)
class Question:
    """What is grouped by besides the month, and what is added up."""

    dimensions: tuple[str, ...]
    measures: tuple[str, ...]


QUESTIONS = {
    "environment-usage": Question(("project_id",), ("records", "runtime_seconds")),
    "resource-usage": Question(("project_id", "billing_metric", "consumed_unit"), ("records", "consumed_quantity")),
    "recipe-usage": Question(("workspace_id",), ("records", "task_count", "job_succeeded_count", "job_failed_count")),
}


def measure(ground: Ground) -> Findings:
    """Ask both several times in turns; raises RuntimeError where their numbers differ."""
    question = QUESTIONS[ground.kind]
    measured: dict[str, list[float]] = {"portal": [], "plain SQL": []}
    with ground.portal() as server, psycopg.connect(ground.url) as connection:
        portal_groups, sql_groups = (
            ask_portal(ground, server, question),
            aggregate_by_sql(ground.kind, connection, question),
        )
        check(ground.kind, portal_groups, sql_groups)
        for _ in range(REPEATS):
            measured["portal"].append(measure_seconds(lambda: ask_portal(ground, server, question)))
        for _ in range(ground.size.rounds):
            measured["plain SQL"].append(measure_seconds(lambda: aggregate_by_sql(ground.kind, connection, question)))
    medians = {name: median(times) for name, times in measured.items()}
    ratio = medians["plain SQL"] / medians["portal"]
    ratios = {"portal": f"{ratio:.1f} times", "plain SQL": ""}
    return Findings(
        rows=[
            (f"{ground.kind}, {name}", f"{len(portal_groups):,}", f"{medians[name]:.3f}", ratios[name])
            for name in measured
        ],
        aims=aims(ground, ratio),
        figures={"seconds": measured, "groups": len(portal_groups)},
    )


def aims(ground: Ground, ratio: float) -> list[Aim]:
    """Return the aim for summaries (docs/benchmarks.md); it is over ten million rows."""
    if ground.size.rows < TEN_MILLION.rows:
        return []
    return [Aim(f"{ground.kind}, month x project: plain SQL / portal", ratio, 20, at_least=True)]


def measure_seconds(ask: Callable[[], Groups]) -> float:
    """Return the seconds that an answer takes."""
    started_at = time.perf_counter()
    ask()
    return time.perf_counter() - started_at


def ask_portal(ground: Ground, server: Served, question: Question) -> Groups:
    """Return the portal's answer."""
    group_by, measures = ",".join(("month", *question.dimensions)), ",".join(question.measures)
    address = f"/api/v1/{ground.kind}/summary/?group_by={group_by}&measures={measures}"
    with ground.answer(server, address) as response:
        results: list[dict[str, Any]] = json.loads(response.read())["results"]
    return {
        (row["month"][:7], *(str(row[name]) for name in question.dimensions)): tuple(
            Decimal(row[name] or 0) for name in question.measures
        )
        for row in results
    }


def aggregate_by_sql(kind: str, connection: "psycopg.Connection[Any]", question: Question) -> Groups:
    """Return the answer of the plainest aggregate over the current records."""
    dimensions = ", ".join(question.dimensions)
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in question.measures[1:])
    zone = "" if ORDER[kind] == "day" else " AT TIME ZONE 'UTC'"
    month = f"to_char({ORDER[kind]}{zone}, 'YYYY-MM')"
    rows = connection.execute(
        f"SELECT {month}, {dimensions}, count(*), {sums} FROM {table(kind)} "
        f"WHERE withdrawn_at IS NULL GROUP BY 1, {dimensions}"
    ).fetchall()
    width = 1 + len(question.dimensions)
    return {tuple(map(str, row[:width])): tuple(map(Decimal, row[width:])) for row in rows}


def check(kind: str, portal_groups: Groups, sql_groups: Groups) -> None:
    """Raise RuntimeError where the two answers are not the same to the last digit."""
    if portal_groups != sql_groups:
        keys = sorted(
            key for key in portal_groups.keys() | sql_groups.keys() if portal_groups.get(key) != sql_groups.get(key)
        )
        key = keys[0]
        raise RuntimeError(
            f"{len(keys)} groups of {kind} differ, e.g. {key}: portal {portal_groups.get(key)}, SQL {sql_groups.get(key)}"
        )
