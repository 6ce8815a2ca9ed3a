"""Operations of migrations that Django lacks."""

from typing import Any

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# The bytes that a column's values are aligned to; wide columns first leave no gaps.
ALIGNMENT = {"bigint": 8, "timestamp with time zone": 8, "integer": 4, "date": 4}
DROP_REPORTING_VIEWS = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT viewname FROM pg_views WHERE schemaname = 'reporting' LOOP
        EXECUTE format('DROP VIEW reporting.%I', name);
    END LOOP;
END $$
"""


class CreatePartitionedModel(migrations.CreateModel):
    """Create a table that is partitioned by ranges of its column `day`, without any partition.

    It has no primary key, which would have to contain `day` too, and no foreign keys, which would be looked up for
    every row. Ids come from a sequence.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        model = to_state.apps.get_model(app_label, self.name)
        definitions, params = [], list[Any]()
        fields = model._meta.local_concrete_fields
        for field in sorted(fields, key=lambda field: -get_alignment(field, schema_editor)):
            sql, column_params = schema_editor.column_sql(model, field)
            suffix = field.db_type_suffix(schema_editor.connection) or ""
            name = schema_editor.quote_name(field.column)
            definitions.append(f"{name} {str(sql).replace(' PRIMARY KEY', '')} {suffix}")
            params += column_params or []
        table = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"CREATE TABLE {table} ({', '.join(definitions)}) PARTITION BY RANGE (day)", params)
        for constraint in model._meta.constraints:
            schema_editor.add_constraint(model, constraint)
        for index in model._meta.indexes:
            schema_editor.add_index(model, index)


def get_alignment(field: "models.Field[Any, Any]", schema_editor: BaseDatabaseSchemaEditor) -> int:
    """Return the alignment of a column, 1 for one of varying length."""
    return ALIGNMENT.get(str(field.db_type(schema_editor.connection)), 1)


class DropReportingViews(migrations.RunSQL):
    """Drop the views of the schema `reporting`, for the operations that follow change or drop a column that they read.

    `migrate` makes them again at the end, backwards too: use it before and after such operations.
    """

    def __init__(self) -> None:
        super().__init__(DROP_REPORTING_VIEWS, DROP_REPORTING_VIEWS)

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        return type(self).__name__, [], {}
