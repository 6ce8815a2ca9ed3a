"""What usage is: the records, the days they belong to, and how far they can be trusted."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    """The app `usage`, without vendors, HTTP clients or Celery."""

    name = "usage"
    verbose_name = "Usage"
