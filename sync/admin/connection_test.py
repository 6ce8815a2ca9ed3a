"""The test of a source's connection from its form, with what is typed, before anything is saved."""

from dataclasses import dataclass, field

from sync.admin.forms import CONNECTION_FIELDS, SourceForm
from sync.sources import probe


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """How a test ended, and what to do about it; `errors` are fields to correct before the test."""

    ok: bool
    message: str
    advice: str = ""
    errors: list[tuple[str, str]] = field(default_factory=list)


def check_connection(form: SourceForm) -> ConnectionResult:
    """Send the vendor its cheapest request with the values of a bound form; nothing is saved."""
    form.is_valid()
    errors = [
        (str(form.fields[name].label or name.replace("_", " ").capitalize()), " ".join(map(str, messages)))
        for name, messages in form.errors.items()
        if name in CONNECTION_FIELDS or name.startswith("option_")
    ]
    if errors:
        message = "The connection was not tested, because fields are missing or not valid."
        return ConnectionResult(ok=False, message=message, errors=errors)
    result = probe(form.instance)
    return ConnectionResult(ok=result.ok, message=result.message, advice=result.advice)
