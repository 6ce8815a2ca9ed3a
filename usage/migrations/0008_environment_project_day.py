import django.db.models.deletion
import usage.fields
from django.db import migrations, models

# Sums of sums: what is held by project, class and runner is all that takes to fill it.
FILL = """
INSERT INTO usage_environmentprojectday (source_id, day, project_id, records, runtime_seconds, records_without_runtime)
SELECT source_id, day, project_id, sum(records), sum(runtime_seconds), sum(records_without_runtime)
FROM usage_environmentday GROUP BY source_id, day, project_id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0007_rejected_of_their_day'),
    ]

    operations = [
        migrations.CreateModel(
            name='EnvironmentProjectDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('records', models.BigIntegerField()),
                ('project_id', models.TextField()),
                ('runtime_seconds', usage.fields.NumericField(null=True)),
                ('records_without_runtime', models.BigIntegerField()),
                ('source', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='usage.source')),
            ],
            options={
                'abstract': False,
                'constraints': [models.UniqueConstraint(models.F('source'), models.F('day'), models.F('project_id'), name='environmentprojectday_once')],
            },
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
