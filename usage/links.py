"""Links of the staff pages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link to another page; `url` is '' where there is no such page. `is_current`: it is the page that is shown."""

    label: str
    url: str
    is_current: bool = False
