"""Testing a source's connection from its form: with what is typed, before anything is saved."""

from dataclasses import dataclass, field

from sync.admin.forms import SourceForm
from sync.sources import probe

# What a connection depends on; the rest of the form may still be empty or wrong.
DEPENDS_ON = ("vendor", "base_url", "time_zone", "new_credential", "credential_env")


@dataclass(frozen=True, slots=True)
class Tested:
    """How a test ended: in words, and what to do about it; `faults` are fields to be mended before it can be made."""

    ok: bool
    words: str
    advice: str = ""
    faults: list[tuple[str, str]] = field(default_factory=list)


def tested(form: SourceForm) -> Tested:
    """Ask the vendor for its cheapest answer with what a bound form says; nothing of it is saved or kept."""
    form.is_valid()
    faults = [
        (str(form.fields[name].label or name.replace("_", " ").capitalize()), " ".join(str(one) for one in errors))
        for name, errors in form.errors.items()
        if name in DEPENDS_ON or name.startswith("option_")
    ]
    if faults:
        return Tested(
            ok=False, words="The connection was not tested: something is missing or not allowed.", faults=faults
        )
    result = probe(form.instance)
    return Tested(ok=result.ok, words=result.words, advice=result.advice)
