"""What a benchmark found: tables, aims with their verdicts, and the facts one needs to believe them."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("django", "psycopg", "httpx2", "msgspec", "redis", "celery")


@dataclass(frozen=True)
class Aim:
    """A promise about a measured ratio: `at_least` or else at most `limit`."""

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def bound(self) -> str:
        """What is promised, in words."""
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}"


@dataclass(frozen=True)
class Table:
    """A heading, the columns' names, and rows of texts."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Return the table as Markdown, its columns aligned so that it reads well on a terminal too."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

        def line(cells: Sequence[str]) -> str:
            first, *other_cells = cells
            aligned = [
                first.ljust(widths[0]),
                *(f"{cell:>{width}}" for cell, width in zip(other_cells, widths[1:], strict=True)),
            ]
            return f"| {' | '.join(aligned)} |"

        return "\n".join([f"## {self.title}", "", line(self.columns), line(rule), *map(line, self.rows), ""])


@dataclass
class Report:
    """One benchmark's findings; `facts` are counts and versions, `figures` the raw measurements for the JSON.

    `judged` is False where the sizes were too small for the aims to mean anything.
    """

    name: str
    title: str
    facts: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    judged: bool = True

    @property
    def missed(self) -> bool:
        """Whether a promise was broken."""
        return self.judged and not all(aim.reached for aim in self.aims)

    def verdict(self, aim: Aim) -> str:
        """Return whether an aim was reached, in a word."""
        return "too small to tell" if not self.judged else "pass" if aim.reached else "MISS"

    def __str__(self) -> str:
        """Return the whole report as Markdown."""
        facts = [f"- {name}: {value}" for name, value in self.facts.items()]
        rows = [(aim.what, aim.bound, f"{aim.measured:.2f}", self.verdict(aim)) for aim in self.aims]
        aims = Table("Aims", ("aim", "promised", "measured", "verdict"), rows)
        return "\n".join([f"# {self.title}", "", *facts, "", *map(str, [*self.tables, aims])])

    def write(self, folder: Path) -> None:
        """Write `<name>.md` and `<name>.json` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.md").write_text(f"{self}\n")
        aims = [{**asdict(aim), "verdict": self.verdict(aim)} for aim in self.aims]
        content = {"name": self.name, "facts": self.facts, "figures": self.figures, "aims": aims}
        (folder / f"{self.name}.json").write_text(json.dumps(content, indent=2) + "\n")


def surroundings() -> dict[str, str]:
    """Return when and on what is being measured, and how busy the machine was before."""
    load = ", ".join(f"{average:.2f}" for average in os.getloadavg())
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, {platform.system()} {platform.release()}",
        "load before (1, 5, 15 minutes)": load,
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
        ),
    }
