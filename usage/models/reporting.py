"""Roles of the database that read the views of the schema `reporting`: the sources and names that each may read."""

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from usage.models.source import Source


class PersonNames(models.TextChoices):
    """The names of people in the columns `user_name` of the views; all but `none` are columns of DirectoryEntry."""

    NONE = "none", "Nothing"
    NAME = "name", "Their names"
    EMAIL = "email", "Their e-mail addresses"
    PSEUDONYM = "pseudonym", "Pseudonyms"


class ReportingRole(models.Model):
    """A role of the database that may read the views (usage/reporting/). The views look its row up by `current_user`.

    A `limited` role sees only its `sources`; without sources it sees nothing, like every role without a row.
    """

    name = models.CharField(
        max_length=63,
        unique=True,
        validators=[
            RegexValidator(r"\A(?!pg_)[a-z_][a-z0-9_]*\Z", "A name of small letters, digits and _ is allowed.")
        ],
        help_text="The role's name in PostgreSQL.",
    )
    limited = models.BooleanField(default=False, help_text="It sees only the sources chosen here.")
    sources = models.ManyToManyField(Source, blank=True, related_name="+")
    person_names = models.CharField(max_length=9, choices=PersonNames, default=PersonNames.NONE)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="reportingrole_has_name"),
            models.CheckConstraint(
                condition=Q(person_names__in=PersonNames.values), name="reportingrole_known_person_names"
            ),
        ]

    def __str__(self) -> str:
        return self.name
