"""Notes: what people want to be remembered of a day, shown on charts over that day."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from usage.models.source import Source


class Note(models.Model):
    """A sentence about a day, of one source or of all."""

    day = models.DateField(help_text="The day that charts show it over.")
    text = models.CharField(max_length=200, help_text="A few words, such as: migration to the new region.")
    source = models.ForeignKey(
        Source, models.CASCADE, null=True, blank=True, related_name="+", help_text="Empty: of all sources."
    )
    written_by = models.CharField(max_length=150, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-day", "-id")
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="note_has_text")]
        indexes = [models.Index("day", name="note_day")]

    def __str__(self) -> str:
        return f"{self.day}: {self.text}"
