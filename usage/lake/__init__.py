"""The lake: complete days as Apache Iceberg tables, for engines that read more than one PostgreSQL gives.

Needs the extra `lake` and PORTAL_LAKE_URL. The lake itself is the only record of what was published: its table `days`
says of every day what the tables of usage hold. So nothing else has to agree with it after a publisher was killed.
"""

from importlib.util import find_spec

from django.conf import settings


def is_installed() -> bool:
    """Tell whether the extra `lake` is installed."""
    return all(find_spec(name) is not None for name in ("pyiceberg", "pyarrow", "sqlalchemy"))


def is_enabled() -> bool:
    """Tell whether days are published."""
    return bool(settings.PORTAL_LAKE_URL)
