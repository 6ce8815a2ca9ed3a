"""Asking of 1 and of 10 million rows of each kind: lists, exports and summaries (docs/benchmarks.md).

Kind after kind has the disk to itself; whoever is compared is measured in the same run on the same database.
"""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tests.benchmarks import exports, lists, summaries
from tests.benchmarks.contenders.columns import COLUMNS as KINDS
from tests.benchmarks.ground import TINY, Findings, Size, ground
from tests.benchmarks.report import Report, Table, surroundings
from tests.benchmarks.stage import Stage

PARTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "Lists": (lists.measure, lists.COLUMNS),
    "CSV": (exports.measure, exports.COLUMNS),
    "Month x project": (summaries.measure, summaries.COLUMNS),
}


class Asking:
    """The benchmark of one size."""

    def __init__(self, name: str, size: Size) -> None:
        self.name = name
        self.size = size

    def __call__(self, stage: Stage, *, quick: bool) -> Report:
        """Measure every part on every kind."""
        size = TINY if quick else self.size
        kinds = ["environment-usage"] if quick else list(KINDS)
        findings: dict[tuple[str, str], Findings] = {}
        for kind in kinds:
            with ground(stage, size, kind) as grounded, ExitStack() as stack:
                if quick:  # what is measured gets a server of its own
                    grounded = replace(grounded, server=stack.enter_context(grounded.portal()))
                findings |= {(part, kind): measure(grounded) for part, (measure, _) in PARTS.items()}
        return Report(
            name=self.name,
            title=f"Asking of {size.name} of each kind",
            facts=facts(stage, size),
            tables=[
                Table(part, columns, [row for kind in kinds for row in findings[part, kind].rows])
                for part, (_, columns) in PARTS.items()
            ],
            aims=[aim for part in PARTS for kind in kinds for aim in findings[part, kind].aims],
            figures={part: {kind: findings[part, kind].figures for kind in kinds} for part in PARTS},
            judged=not quick,
        )


def facts(stage: Stage, size: Size) -> dict[str, str]:
    """Return what one has to know to judge the numbers."""
    return surroundings() | {
        "servers": f"PostgreSQL {stage.version} (embedded), granian with 2 workers, clients on the same machine",
        "rows": f"{size.rows:,} of each kind over {size.days} days, 2 sources",
        "load": f"{size.clients} clients on kept connections, {size.rounds} rounds of {size.seconds:g} s in turns, "
        "the round of the middle rate shown; CPU per request",
        "stock": "ModelViewSet, ModelSerializer, PageNumberPagination; no token, no log, no compression",
        "floor": "a WSGI function, one prepared statement, json_agg; no router, token, filter or cursor",
    }
