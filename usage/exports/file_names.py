"""The names of exported files: the request, and the instant of the answer."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

NOT_IN_NAMES: Final = re.compile(r"[^0-9A-Za-z.+-]+")
MAX_PART: Final = 60  # characters


def build_export_name(
    name: str,
    params: Mapping[str, str],
    ending: str,
    as_of: datetime,
    *,
    sources: Iterable[str] = (),
    dates: Iterable[str] = (),
) -> str:
    """Return e.g. `resource-usage_main_2026-10-01_2026-11-01_Europe-Berlin_as-of-20261202T091500Z.csv`.

    The bounds are those of `params` as they were written, so in the zone of the request; UTC is not named. `dates`:
    further bounds.
    """
    bounds = [params.get("from", ""), params.get("to", "")]
    if any(bounds):
        bounds = [bound or "open" for bound in bounds]
    zone = params.get("tz", "")
    parts = [name, "-".join(sources), *bounds, *dates, "" if zone == "UTC" else zone]
    safe = [NOT_IN_NAMES.sub("-", part.replace(":", ""))[:MAX_PART] for part in parts if part]
    return f"{'_'.join([*safe, f'as-of-{as_of.astimezone(UTC):%Y%m%dT%H%M%SZ}'])}.{ending}"
