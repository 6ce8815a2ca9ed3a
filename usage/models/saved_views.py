"""Saved views: summaries of the Explore page that people keep under a name."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class SavedView(models.Model):
    """The parameters of a summary (`question`) as the address of the Explore page has them, without `kind`.

    `moving_range` names a range that moves with the calendar, such as `last-30-days`; '' keeps the dates of the
    parameters. `shared`: others may open it too; only its owner may change it.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=40)
    question = models.TextField(blank=True)
    moving_range = models.CharField(max_length=20, blank=True, default="", db_default="")
    shared = models.BooleanField(default=False, db_default=False, help_text="Others may open it too.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("name", "id")
        constraints = [
            models.UniqueConstraint("owner", "name", name="savedview_one_name"),
            models.CheckConstraint(condition=~Q(name=""), name="savedview_has_name"),
        ]
        indexes = [models.Index("name", "id", name="savedview_shared", condition=Q(shared=True))]

    def __str__(self) -> str:
        return self.name


class PinnedView(models.Model):
    """The saved view that a person has on their overview."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+")
    view = models.ForeignKey(SavedView, models.CASCADE, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.view)
