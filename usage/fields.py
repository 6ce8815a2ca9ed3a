"""Column types of our own: exact numbers of any size, and secrets that are encrypted at rest."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class NumericField(models.DecimalField):  # type: ignore[type-arg]
    """A PostgreSQL `NUMERIC` without a limit: a vendor's number is kept to its last digit."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 1000)
        kwargs.setdefault("decimal_places", 500)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """Leave the formal limits out of migrations: the column has none."""
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("max_digits", None)
        kwargs.pop("decimal_places", None)
        return name, path, args, kwargs

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "numeric"


class FirstSeenField(models.DateTimeField[Any, Any]):
    """When a row was stored, NULL until it changes: it is read as `changed_at` then. That takes 8 bytes less a row.

    Only selected rows are filled in, so nothing filters or sorts by it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "null": True, "editable": False})

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """Return the column with `changed_at` in its place where it is NULL."""
        changed_at = sql.replace(f'"{self.column}"', '"changed_at"')
        return f"COALESCE({sql}, {changed_at})", params


def get_cipher() -> MultiFernet:
    """Return the cipher of every secret: the first of PORTAL_ENCRYPTION_KEYS encrypts, any decrypts."""
    return _build_cipher(tuple(settings.PORTAL_ENCRYPTION_KEYS))


@lru_cache(maxsize=8)
def _build_cipher(keys: tuple[str, ...]) -> MultiFernet:
    if not keys:
        raise ImproperlyConfigured("PORTAL_ENCRYPTION_KEYS is empty: set it to keys made by `manage.py new_key`.")
    return MultiFernet([Fernet(key) for key in keys])


@dataclass(frozen=True, slots=True)
class LockedText:
    """A stored value that no key opens: loaded and saved as it is, and not usable as a secret.

    So a row whose secret is locked can be listed, planned and repaired; only code that needs the secret has to check
    `isinstance(secret, LockedText)`. It is true, as a secret that is present, and its repr shows nothing.
    """

    ciphertext: str = field(repr=False)


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """Text that the database only ever sees encrypted, with the first of PORTAL_ENCRYPTION_KEYS.

    Any of the keys decrypts; a value that none of them opens is loaded as LockedText, so that such a row keeps no
    reader from the others. The empty string stays empty.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | LockedText | None:
        if not value:
            return value
        try:
            return get_cipher().decrypt(value.encode()).decode()
        except (InvalidToken, ImproperlyConfigured):
            return LockedText(value)

    def to_python(self, value: Any) -> Any:
        """Return a locked value unchanged, which a form or `full_clean` would convert to text."""
        return value if isinstance(value, LockedText) else super().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        """Compare what is locked as the text that the database holds."""
        return value.ciphertext if isinstance(value, LockedText) else super().get_prep_value(value)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """Encrypt a value for the database; a locked value is stored unchanged."""
        if isinstance(value, LockedText):
            return value.ciphertext
        value = super().get_db_prep_save(value, connection)
        if not value:
            return value
        return get_cipher().encrypt(value.encode()).decode()
