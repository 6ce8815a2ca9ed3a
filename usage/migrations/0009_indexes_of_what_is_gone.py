"""Indexes of withdrawn records alone go: nothing lists those by themselves, and every load paid for them."""

from django.contrib.postgres.operations import RemoveIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("usage", "0008_coarser_rollups")]

    operations = [
        RemoveIndexConcurrently("environmentusage", "environmentusage_gone"),
        RemoveIndexConcurrently("resourceusage", "resourceusage_gone"),
        RemoveIndexConcurrently("recipeusage", "recipeusage_gone"),
    ]
