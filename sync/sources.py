"""Sources as people set them up: what is allowed, what a vendor prescribes, whether the connection works."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, get_args, get_origin
from zoneinfo import available_timezones

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from httpx2 import URL, InvalidURL

from sync.advice import advice
from sync.engine.reading import open_reader
from sync.errors import HostNotAllowed, SyncError
from sync.http import Bounds
from sync.http.address import checked_base, origin
from sync.vendors import readers
from sync.vendors.base import VendorReader
from usage.models import Source

FIRST_HISTORY = timedelta(days=90)
LONGEST_HISTORY = timedelta(days=3700)
# A test is waited for by a person: it gives up sooner than a worker would.
PROBE_BOUNDS = Bounds(timeout=10.0, attempts=2, longest_wait=2.0, total_seconds=15.0)
# Where an option's fault lies: msgspec's `… - at `$.name``, or a vendor's own `name: …`.
OPTION_AT = re.compile(r" - at `\$\.(?P<inner>\w+)[^`]*`$|^(?P<begins>\w+): ")
OWN_VARIABLES = frozenset({"SECRET_KEY", "DATABASE_URL", "REDIS_URL"})
# How the names of what other programs keep in an environment begin: databases, clouds, code hosts.
OTHERS_VARIABLES = ("PG", "POSTGRES_", "AWS_", "AZURE_", "GOOGLE_", "GITHUB_", "GITLAB_")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How a test of a source's connection ended, in one or two sentences without any secret."""

    ok: bool
    words: str

    @property
    def advice(self) -> str:
        """What a person can do about it."""
        return "" if self.ok else advice(self.words)


def probe(source: Source) -> ProbeResult:
    """Make the vendor's cheapest request with the source's address and credential, and say how that went."""
    try:
        with open_reader(source, bounds=PROBE_BOUNDS) as reader:
            return ProbeResult(ok=True, words=reader.probe())
    except SyncError as error:
        return ProbeResult(ok=False, words=error.reason)


def validated_source(**values: Any) -> Source:
    """Return a new, unsaved source; what is not given comes from the vendor, then from the model.

    Raises ValidationError with one message per field that says what is allowed.
    """
    source = Source(**filled_in(values))
    errors: dict[str, list[Any]] = {}
    try:
        source.full_clean()
    except ValidationError as error:
        errors = error.update_error_dict({})
    for field, message in vendor_errors(source).items():
        errors.setdefault(field, [message])
    if errors:
        raise ValidationError(errors)
    return source


def filled_in(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new source's `values` with what was left empty: as its vendor prescribes, and a history of 90 days."""
    filled = dict(values)
    filled["backfill_from"] = filled.get("backfill_from") or timezone.now().date() - FIRST_HISTORY
    reader = readers().get(filled.get("vendor", ""))
    if reader is not None:
        filled["base_url"] = filled.get("base_url") or reader.base_url
        filled["time_zone"] = filled.get("time_zone") or reader.time_zone or "UTC"
        if filled.get("requests_per_minute") is None:
            filled["requests_per_minute"] = reader.requests_per_minute
    return filled


def vendor_errors(source: Source) -> dict[str, str]:
    """Return by field what is not allowed about a source and what is; empty where it may be kept as it is."""
    reader = readers().get(source.vendor)
    if reader is None:
        return {"vendor": f"No vendor is named “{source.vendor}”; there are {', '.join(readers())}."}
    found = {
        "vendor": fixed_error(source, "vendor"),
        "base_url": address_error(source, reader),
        "time_zone": fixed_error(source, "time_zone") or zone_error(source, reader),
        "options": options_error(source, reader),
        "credential": credential_error(source),
        "credential_env": variable_error(source),
        "backfill_from": backfill_error(source),
    }
    return {field: message for field, message in found.items() if message}


def fixed_error(source: Source, field: str) -> str:
    """Vendor and zone say what a day of the source is, so they are fixed once there are days."""
    kept = Source.objects.filter(pk=source.pk, days__isnull=False).values_list(field, flat=True).first()
    if kept is None or kept == getattr(source, field):
        return ""
    return f"It stays {kept}: days of this source are held. Add another source instead."


def address_error(source: Source, reader: type[VendorReader]) -> str:
    """Requests, and the credential with them, go to the vendor's own hosts or to those the settings allow."""
    try:
        checked_base(source.base_url, reader.hosts, settings.PORTAL_ALLOWED_VENDOR_HOSTS)
    except HostNotAllowed as error:
        return error.reason
    return ""


def goes_elsewhere(source: Source) -> bool:
    """Tell whether a kept source's requests go to another origin or vendor now than its credential was given for."""
    kept = Source.objects.filter(pk=source.pk).values_list("vendor", "base_url").first()
    if kept is None:
        return False
    vendor, base_url = kept
    try:
        return vendor != source.vendor or origin(URL(base_url)) != origin(URL(source.base_url))
    except InvalidURL:
        return True


def zone_error(source: Source, reader: type[VendorReader]) -> str:
    """The vendor's own zone where it has one, else any IANA zone."""
    if reader.time_zone and source.time_zone != reader.time_zone:
        return f"Days of {reader.title} are days of {reader.time_zone}."
    if source.time_zone not in available_timezones():
        return f"“{source.time_zone}” is no time zone; a name such as Europe/Berlin is allowed."
    return ""


def options_error(source: Source, reader: type[VendorReader]) -> str:
    """What the vendor's options type takes."""
    options: Any = source.options
    if not isinstance(options, Mapping):
        return 'A JSON object is allowed, such as {} or {"name": "value"}.'
    option, reason = option_fault(reader, options)
    if not reason:
        return ""
    where = "" if option == "options" else f"{option}: "
    return f"Options of {reader.title}: {where}{reason}. Allowed: {options_in_words(reader)}."


def option_fault(reader: type[VendorReader], options: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first option that is not allowed, and why; empty texts where all are.

    The option is 'options' where the reason does not lie with a single one.
    """
    try:
        reader.checked_options(options)
    except SyncError as error:
        reason = error.reason.removeprefix(f"Options of {reader.title}: ")
        at = OPTION_AT.search(reason)
        if at:
            return at["inner"] or at["begins"], OPTION_AT.sub("", reason).strip().replace("`", "")
        return "options", reason.replace("`", "")
    return "", ""


@dataclass(frozen=True, slots=True)
class Option:
    """One of a vendor's own options, as a form offers it: `whole` for a whole number from `least` to `most`."""

    name: str
    title: str
    description: str
    default: str
    whole: bool
    least: int | None
    most: int | None


def options_of(reader: type[VendorReader]) -> list[Option]:
    """Return a vendor's options in their order; titles, descriptions and limits are those of its options type."""
    return [option_of(field) for field in msgspec.structs.fields(reader.options_type)]


def option_of(field: Any) -> Option:
    """Return one field of an options type as an option."""
    plain, *said = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
    meta = next((one for one in said if isinstance(one, msgspec.Meta)), msgspec.Meta())
    return Option(
        name=field.name,
        title=meta.title or field.name.replace("_", " ").capitalize(),
        description=meta.description or "",
        default="" if field.default is msgspec.NODEFAULT else str(field.default),
        whole=plain is int,
        least=None if meta.ge is None else int(meta.ge),
        most=None if meta.le is None else int(meta.le),
    )


def options_in_words(reader: type[VendorReader]) -> str:
    """Return the names of a vendor's options, e.g. `workspace_ids, external_ids`; `none` without."""
    return ", ".join(option.name for option in options_of(reader)) or "none"


def credential_error(source: Source) -> str:
    """One way to the credential, and characters that a header can carry."""
    if bool(source.credential) == bool(source.credential_env):
        return "Give either the credential or the name of an environment variable that holds it."
    if not (source.credential.isascii() and source.credential.isprintable()):
        return "Only printable ASCII characters without line breaks are allowed."
    return ""


def variable_error(source: Source) -> str:
    """The portal's own secrets, and those of other programs, are never sent to a vendor."""
    name = source.credential_env.upper()
    if name.startswith(OTHERS_VARIABLES):
        return f"{source.credential_env} is a setting of another program; name a variable of its own."
    if name in OWN_VARIABLES or name.startswith("PORTAL_"):
        return f"{source.credential_env} is a setting of the portal itself; name a variable of its own."
    return ""


def backfill_error(source: Source) -> str:
    """A first day within the last ten years or so."""
    first: date | None = source.backfill_from
    if first is None:
        return ""
    today = timezone.now().date()
    earliest = today - LONGEST_HISTORY
    if not earliest <= first <= today:
        return f"A day from {earliest} to {today} is allowed."
    return ""


def named_options(reader: type[VendorReader], given: Iterable[str]) -> dict[str, Any]:
    """Return options from `name=value` texts; raises SyncError that names what is allowed."""
    known = {field.name for field in msgspec.structs.fields(reader.options_type)}
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise SyncError(f"“{text}” is no option of {reader.title}. Allowed: {options_in_words(reader)}.")
        options[name] = value
    return options
