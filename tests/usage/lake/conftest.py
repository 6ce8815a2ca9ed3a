"""The lake that these tests publish to, and the month that they archive."""

from tests.support.archived_month import archived_month, month, runs  # noqa: F401
from tests.support.lake import lake_folder  # noqa: F401
