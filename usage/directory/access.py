"""Access to names: the one place that every path uses (pages, API, exports, filters, suggestions, search).

Names of people are personal data. They are shown only to a person with the permission `usage.view_person` and to a
token with the scope `person:read`, and then in the form of PORTAL_PERSON_NAMES. No person sees both a name and an
e-mail address.
"""

from dataclasses import dataclass
from typing import Final

from django.conf import settings

from usage.models import PERSONS, NameKind

SCOPE: Final = "person:read"
PERMISSION: Final = "usage.view_person"


@dataclass(frozen=True, slots=True)
class NameAccess:
    """Which names a person may see; `refusal`: why names of people are hidden, '' where they are shown."""

    refusal: str = "The names of people are not shown here."

    @property
    def shows_people(self) -> bool:
        return not self.refusal

    def get_column(self, kind: NameKind | str) -> str | None:
        """Return the column of DirectoryEntry that holds the name of a kind; None where it may not be shown."""
        if kind not in PERSONS:
            return "name"
        return str(settings.PORTAL_PERSON_NAMES) if self.shows_people else None


# Without a request: no names of people.
NO_PEOPLE: Final = NameAccess()
