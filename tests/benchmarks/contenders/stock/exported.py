"""django-import-export: `python -m tests.benchmarks.contenders.stock.exported KIND ROWS` exports the first rows as CSV."""

import os
import sys

import django

from tests.benchmarks.contenders import lane


def main(kind: str, rows: str) -> None:
    """Export so many rows into a string, as its own command does, when the referee says so."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.contenders.stock.settings"
    django.setup()
    from import_export.resources import modelresource_factory

    from tests.benchmarks.contenders.stock.models import MODELS

    def work() -> int:
        records = MODELS[kind]._default_manager.filter(withdrawn_at=None)[: int(rows)]
        text: str = modelresource_factory(MODELS[kind])().export(records).csv
        return text.count("\r\n") - 1

    lane.run(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
