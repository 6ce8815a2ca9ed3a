"""Lock every stored secret again with the first of PORTAL_ENCRYPTION_KEYS, so that the others can be removed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model, TextField
from django.db.models.functions import Cast

from usage.fields import EncryptedTextField, LockedText, get_cipher

# What allauth encrypts of the data of a second factor: text, or a list of texts.
FACTOR_SECRETS = ("secret", "seed", "migrated_codes")
Column: TypeAlias = tuple[type[Model], str]


@dataclass(slots=True)
class Rotation:
    """How many secrets of a column are locked with the first key, with a later key, and with none of the keys."""

    name: str
    current: int = 0
    old: int = 0
    unknown: int = 0

    def lock_anew(self, ciphertext: str) -> str:
        """Count a secret; returns it locked with the first key, and unchanged where no key opens it."""
        if is_current(ciphertext):
            self.current += 1
            return ciphertext
        try:
            renewed = get_cipher().rotate(ciphertext.encode()).decode()
        except InvalidToken:
            self.unknown += 1
            return ciphertext
        self.old += 1
        return renewed

    def lock_factor_anew(self, data: dict[str, Any]) -> dict[str, Any]:
        """Do the same for the data of a second factor."""
        renewed = dict(data)
        for name in data.keys() & set(FACTOR_SECRETS):
            value = data[name]
            renewed[name] = [self.lock_anew(v) for v in value] if isinstance(value, list) else self.lock_anew(value)
        return renewed


def rotate_keys(*, write: bool) -> Iterator[Rotation]:
    """Yield the figures of each column, as they were before; with `write`, what an old key locks is locked again.

    A process that writes meanwhile waits for the rows of a column, or rotation waits for it.
    """
    for model, column in list_columns():
        yield rotate_column(model, column, write=write)


def list_columns() -> list[Column]:
    """Return every column that contains secrets."""
    fields = [(model, field) for model in apps.get_models() for field in model._meta.local_fields]
    columns: list[Column] = [(model, field.name) for model, field in fields if isinstance(field, EncryptedTextField)]
    return [*columns, (Authenticator, "data")]


@transaction.atomic
def rotate_column(model: type[Model], column: str, *, write: bool) -> Rotation:
    """Count the secrets of a column, and lock again what an old key locks."""
    rotation = Rotation(f"{model._meta.verbose_name}, {column}")
    for row, stored in read_column(model, column):
        if isinstance(stored, dict):
            renewed: Any = rotation.lock_factor_anew(stored)
        else:
            renewed = rotation.lock_anew(stored)
        if write and renewed != stored:
            value = renewed if isinstance(renewed, dict) else LockedText(renewed)  # it is encrypted already
            model._meta.base_manager.filter(pk=row).update(**{column: value})
    return rotation


def read_column(model: type[Model], column: str) -> list[tuple[Any, Any]]:
    """Return key and stored value of every row that has a secret, which are locked until the transaction ends."""
    rows = model._meta.base_manager.order_by("pk").select_for_update(no_key=True)
    if model is Authenticator:
        return list(rows.values_list("pk", column))
    ciphertexts = rows.annotate(ciphertext=Cast(column, TextField())).exclude(ciphertext="")
    return list(ciphertexts.values_list("pk", "ciphertext"))


def is_current(ciphertext: str) -> bool:
    """Return whether the first key opens a secret."""
    try:
        Fernet(settings.PORTAL_ENCRYPTION_KEYS[0]).decrypt(ciphertext.encode())
    except InvalidToken:
        return False
    return True
