"""What every export format is: a class with a name, a media type and the bytes of a query's rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from usage.exports.copy import ExportQuery


class ExportFormat(ABC):
    """One format; docs/adding-an-export-format.md has the steps.

    `name`: the value of `format` and the ending of the file. `media_type`: that of the Accept header.
    `parameters`: what follows the media type in Content-Type. `title`, `hint`: the entry of the Export menu.
    `position`: its place in the menu and among the formats of the API.
    """

    name: ClassVar[str]
    media_type: ClassVar[str]
    parameters: ClassVar[str] = ""
    title: ClassVar[str]
    hint: ClassVar[str]
    position: ClassVar[int]

    @classmethod
    def is_available(cls) -> bool:
        """Return whether the libraries of the format are installed."""
        return True

    @classmethod
    def get_hint(cls) -> str:
        """Return the line below the title in the Export menu."""
        return cls.hint

    @abstractmethod
    def write(self, query: ExportQuery) -> Iterator[bytes]:
        """Yield the file in blocks; raises ValidationError at once where the format cannot represent the rows.

        Memory must not grow with the number of rows. What the database raises later is passed on.
        """
