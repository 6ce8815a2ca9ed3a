"""`python -m tests.support.migrations`: every migration leaves a web server of the release before it running.

A migration that a rule below names, and that is all the same safe, says why: `keeps_old_web = "not read since 0007"` in
its class. What RunPython does is not looked at.

Own rules in place of django-migration-linter: it reads the SQL of each migration, where it neither sees our operations
(partitions, triggers) nor which tables are large, and needs two libraries that are no longer kept (toml, appdirs).
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import django
from django.db.migrations import Migration, operations
from django.db.migrations.state import ProjectState
from django.db.models import Field, UniqueConstraint
from django.db.models.fields import NOT_PROVIDED

APPS = ("accounts", "incidents", "reports", "usage", "sync")
GONE = (
    operations.RemoveField,
    operations.RenameField,
    operations.DeleteModel,
    operations.RenameModel,
    operations.AlterModelTable,
)
CHANGES = re.compile(r"\b(ALTER|DROP|RENAME|TRUNCATE)\b", re.IGNORECASE)


def find_dangers(migration: Migration, state: ProjectState) -> Iterator[str]:
    """Yield the dangers of a migration to an old process; `state` is the one before it, and becomes the one after it."""
    before = set(state.models)
    for operation in migration.operations:
        model = (migration.app_label, getattr(operation, "model_name_lower", getattr(operation, "name_lower", "")))
        # A table that this migration makes is used by nobody yet.
        if model in before or isinstance(operation, operations.RunSQL):
            for danger in judge(operation, model, state):
                yield f"{operation.describe()}: {danger}"
        operation.state_forwards(migration.app_label, state)


def judge(operation: Any, model: tuple[str, str], state: ProjectState) -> Iterator[str]:
    """Yield why one operation is dangerous, and what to do instead."""
    if isinstance(operation, GONE):
        yield "an old process still uses it; leave it to the release after the one whose code no longer does."
    elif isinstance(operation, operations.AddField):
        if not operation.field.many_to_many and not is_filled(operation.field):
            yield "an old process inserts rows without it; give it a db_default, or null=True."
    elif isinstance(operation, operations.AlterField):
        yield from judge_field(state.models[model].fields[operation.name], operation.field)
    elif isinstance(operation, operations.RunSQL):
        if CHANGES.search(str(operation.sql)):
            yield "it changes or drops something; an old process may use it."
    elif model[0] == "usage" and is_index(operation):
        yield "it locks a large table against writes; build the index concurrently, on each partition first."


def judge_field(old: "Field[Any, Any]", new: "Field[Any, Any]") -> Iterator[str]:
    """Yield why a changed column is dangerous."""
    from django.db import connection

    is_relation = old.is_relation, new.is_relation
    if len({*is_relation}) == 2 or (not any(is_relation) and old.db_type(connection) != new.db_type(connection)):
        yield "another type rewrites the table under a lock; add a second column in place of it."
    if old.null and not new.null:
        yield "an old process may store NULL; leave it to the next release."


def is_filled(field: "Field[Any, Any]") -> bool:
    """Return whether the database fills a column that an INSERT leaves out."""
    return field.null or field.db_default is not NOT_PROVIDED or field.generated


def is_index(operation: Any) -> bool:
    """Return whether an operation builds an index while the table is locked."""
    constraint = getattr(operation, "constraint", None)
    return isinstance(constraint, UniqueConstraint) or type(operation) is operations.AddIndex


def find_faults() -> Iterator[str]:
    """Yield every danger of the portal's own migrations that none explains."""
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(None, ignore_no_migrations=True)
    state = loader.project_state([])
    plan = dict.fromkeys(
        node for leaf in sorted(loader.graph.leaf_nodes()) for node in loader.graph.forwards_plan(leaf)
    )
    for app, name in plan:
        migration = loader.graph.nodes[app, name]
        if app not in APPS or getattr(migration, "keeps_old_web", False):
            migration.mutate_state(state, preserve=False)
            continue
        yield from (f"{app}.{name}: {danger}" for danger in find_dangers(migration, state))


def main() -> int:
    """Print every danger; returns 1 for any."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    faults = list(find_faults())
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
