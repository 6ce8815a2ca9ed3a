"""Earlier versions of usage records that the vendor restated."""

import json
from decimal import Decimal
from typing import Any

from django.db import models

from usage.models.source import Source


class ExactDecoder(json.JSONDecoder):
    """Decodes JSON numbers with all their digits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"parse_float": Decimal})


class RecordRevision(models.Model):
    """A record as it stood until `replaced_at`, when a day that had been read to its end came back different.

    `kind` is the record's model, `record` its id and `day` the day it had; the table is partitioned by it. `was`
    holds the vendor's columns, the day and `withdrawn_at` as they were. Changes of a day that has not ended are no
    restatement and make no revision: a resource of today grows with every read.
    """

    kind = models.CharField(max_length=40)
    record = models.BigIntegerField()
    source = models.ForeignKey(Source, models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    day = models.DateField()
    revision = models.PositiveIntegerField()
    replaced_at = models.DateTimeField()
    was = models.JSONField(decoder=ExactDecoder)

    class Meta:
        constraints = [models.UniqueConstraint("kind", "record", "revision", "day", name="recordrevision_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.record}, revision {self.revision}"
