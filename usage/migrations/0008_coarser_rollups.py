import django.db.models.deletion
import usage.fields
from django.db import migrations, models

# Sums of sums: the finer rollups hold all that it takes to fill the coarser ones.
FILL = [
    """
    INSERT INTO usage_environmentprojectday (source_id, day, project_id,
        records, runtime_seconds, records_without_runtime)
    SELECT source_id, day, project_id, sum(records), sum(runtime_seconds), sum(records_without_runtime)
    FROM usage_environmentday GROUP BY 1, 2, 3
    """,
    """
    INSERT INTO usage_resourceprojectday (source_id, day, resource_type, billing_metric, consumed_unit, project_id,
        records, consumed_quantity)
    SELECT source_id, day, resource_type, billing_metric, consumed_unit, project_id,
        sum(records), sum(consumed_quantity)
    FROM usage_resourceday GROUP BY 1, 2, 3, 4, 5, 6
    """,
    """
    INSERT INTO usage_recipeworkspaceday (source_id, day, workspace_id, external_id, workspace_name,
        records, task_count, job_succeeded_count, job_failed_count)
    SELECT source_id, day, workspace_id, external_id, workspace_name,
        sum(records), sum(task_count), sum(job_succeeded_count), sum(job_failed_count)
    FROM usage_recipeday GROUP BY 1, 2, 3, 4, 5
    """,
]
SOURCE = models.ForeignKey(
    db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='usage.source'
)


def rollup(name, fields, key, **unique):
    """Return the operation that makes one rollup."""
    return migrations.CreateModel(
        name=name,
        fields=[
            ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
            ('day', models.DateField()),
            ('records', models.BigIntegerField()),
            *fields,
            ('source', SOURCE.clone()),
        ],
        options={
            'abstract': False,
            'constraints': [
                models.UniqueConstraint(
                    *(models.F(column) for column in ('source', 'day', *key)), name=f'{name.lower()}_once', **unique
                )
            ],
        },
    )


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0007_rejected_of_their_day'),
    ]

    operations = [
        rollup(
            'EnvironmentProjectDay',
            [
                ('project_id', models.TextField()),
                ('runtime_seconds', usage.fields.NumericField(null=True)),
                ('records_without_runtime', models.BigIntegerField()),
            ],
            ('project_id',),
        ),
        rollup(
            'ResourceProjectDay',
            [
                ('resource_type', models.TextField()),
                ('billing_metric', models.TextField()),
                ('consumed_unit', models.TextField()),
                ('project_id', models.BigIntegerField(null=True)),
                ('consumed_quantity', usage.fields.NumericField()),
            ],
            ('project_id', 'resource_type', 'billing_metric', 'consumed_unit'),
            nulls_distinct=False,
        ),
        rollup(
            'RecipeWorkspaceDay',
            [
                ('workspace_id', models.BigIntegerField()),
                ('external_id', models.TextField()),
                ('workspace_name', models.TextField()),
                ('task_count', usage.fields.NumericField(null=True)),
                ('job_succeeded_count', usage.fields.NumericField(null=True)),
                ('job_failed_count', usage.fields.NumericField(null=True)),
            ],
            ('workspace_id', 'external_id', 'workspace_name'),
        ),
        *(migrations.RunSQL(fill, migrations.RunSQL.noop) for fill in FILL),
    ]
