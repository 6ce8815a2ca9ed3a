"""The check of migrations finds each dangerous operation, and passes those that keep an old process running."""

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from tests.support.migrations import find_dangers, find_faults

INDEX = models.Index(fields=["name"], name="thing_by_name")
NEW = migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())])
DANGEROUS: dict[str, list[Operation]] = {
    "an old process still uses it": [
        migrations.RemoveField("thing", "name"),
        migrations.RenameField("thing", "name", "title"),
        migrations.DeleteModel("Thing"),
        migrations.RenameModel("Thing", "Object"),
        migrations.AlterModelTable("thing", "things"),
    ],
    "inserts rows without it": [migrations.AddField("thing", "size", models.IntegerField(default=0))],
    "another type": [migrations.AlterField("thing", "name", models.IntegerField(null=True))],
    "may store NULL": [migrations.AlterField("thing", "name", models.TextField())],
    "locks a large table": [
        migrations.AddIndex("thing", INDEX),
        migrations.AddConstraint("thing", models.UniqueConstraint(fields=["name"], name="thing_once")),
    ],
    "changes or drops something": [migrations.RunSQL("ALTER TABLE usage_thing DROP name")],
}
HARMLESS: list[Operation] = [
    NEW,
    migrations.AddField("thing", "size", models.IntegerField(null=True)),
    migrations.AddField("thing", "size", models.IntegerField(db_default=0, default=0)),
    migrations.AlterField("thing", "name", models.TextField(null=True, help_text="What it is called.")),
    migrations.RunSQL("INSERT INTO usage_other SELECT 1"),
]


def judge(*operations: Operation) -> list[str]:
    state = ProjectState()
    fields: list[tuple[str, Any]] = [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.TextField(null=True)),
    ]
    state.add_model(ModelState("usage", "Thing", fields))
    migration = Migration("9999_next", "usage")
    migration.operations = list(operations)  # type: ignore[misc]
    return list(find_dangers(migration, state))


@pytest.mark.parametrize(
    ("operation", "danger"),
    [(operation, danger) for danger, operations in DANGEROUS.items() for operation in operations],
)
def test_a_dangerous_operation_is_named_with_what_to_do(operation: Operation, danger: str) -> None:
    [fault] = judge(operation)
    assert danger in fault


@pytest.mark.parametrize("operation", HARMLESS)
def test_what_an_old_process_does_not_notice_passes(operation: Operation) -> None:
    assert judge(operation) == []


def test_a_table_that_the_migration_itself_makes_is_used_by_nobody_yet() -> None:
    assert judge(NEW, migrations.AddIndex("other", INDEX), migrations.RemoveField("other", "name")) == []


def test_the_portal_s_own_migrations_have_none() -> None:
    assert list(find_faults()) == []
