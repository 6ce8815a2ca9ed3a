"""Indexes for searches by name, value and size; built while the portal goes on answering and loading."""

import django.contrib.postgres.indexes
from django.contrib.postgres.operations import AddIndexConcurrently, BtreeGinExtension, TrigramExtension
from django.db import migrations, models


def trigrams(column):
    return django.contrib.postgres.indexes.OpClass(models.F(column), name='gin_trgm_ops')


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('usage', '0001_initial'),
    ]

    operations = [
        TrigramExtension(),
        BtreeGinExtension(),
        AddIndexConcurrently(
            model_name='environmentusage',
            index=django.contrib.postgres.indexes.GinIndex(models.F('runner_id'), models.F('environment_class_id'), models.F('runtime_seconds'), name='environmentusage_search'),
        ),
        AddIndexConcurrently(
            model_name='resourceusage',
            index=django.contrib.postgres.indexes.GinIndex(models.F('region_id'), models.F('billing_metric'), models.F('consumed_unit'), models.F('consumed_quantity'), trigrams('resource_name'), name='resourceusage_search'),
        ),
        AddIndexConcurrently(
            model_name='recipeusage',
            index=django.contrib.postgres.indexes.GinIndex(models.F('external_id'), trigrams('workspace_name'), trigrams('recipe_name'), trigrams('folder_name'), name='recipeusage_search'),
        ),
    ]
