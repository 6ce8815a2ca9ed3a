"""Set up a source: defaults from its vendor, validation, and a test of the connection."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any, get_args, get_origin
from zoneinfo import available_timezones

import msgspec
from django.conf import settings
from django.core.exceptions import ValidationError
from httpx2 import URL, InvalidURL

from sync.engine.connect import find_variable_problem, open_reader
from sync.errors import ErrorCode, HostNotAllowed, OptionsError, SyncError
from sync.http import Bounds
from sync.http.address import get_url_origin, parse_base_url
from sync.messages import get_advice
from sync.vendors import readers
from sync.vendors.base import VendorReader
from usage.days import get_today
from usage.fields import LockedText
from usage.models import Source
from usage.models.source import UTC, get_zone

FIRST_HISTORY = timedelta(days=90)
LONGEST_HISTORY = timedelta(days=3700)
# A person waits for a test of the connection, so it gives up sooner than a worker does.
PROBE_BOUNDS = Bounds(timeout=10.0, attempts=2, longest_wait=2.0, total_seconds=15.0, exchange_seconds=15.0)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The outcome of a test of a source's connection; `message`: one or two sentences without any secret."""

    message: str
    code: ErrorCode | None = None

    @property
    def ok(self) -> bool:
        """Whether the vendor answered as it should."""
        return self.code is None

    @property
    def advice(self) -> str:
        """What a person can do about a failure; "" after a success."""
        return get_advice(self.code) if self.code else ""


def probe(source: Source) -> ProbeResult:
    """Make the vendor's cheapest request with the source's address and credential."""
    try:
        with open_reader(source, bounds=PROBE_BOUNDS) as reader:
            return ProbeResult(reader.probe())
    except SyncError as error:
        return ProbeResult(error.reason, error.code)


def build_source(**values: Any) -> Source:
    """Return a new, unsaved source; defaults come from the vendor, then from the model.

    Raises ValidationError with one message per field that says what is allowed.
    """
    source = Source(**fill_defaults(values))
    errors: dict[str, list[Any]] = {}
    try:
        source.full_clean()
    except ValidationError as error:
        errors = error.update_error_dict({})
    for field, message in find_errors(source).items():
        errors.setdefault(field, [message])
    if errors:
        raise ValidationError(errors)
    return source


def fill_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a new source's `values` with defaults for empty fields: those of its vendor, and a history of 90 days."""
    filled = dict(values)
    reader = readers().get(filled.get("vendor", ""))
    if reader is not None:
        filled["base_url"] = filled.get("base_url") or reader.base_url
        filled["time_zone"] = filled.get("time_zone") or reader.time_zone or "UTC"
        if filled.get("requests_per_minute") is None:
            filled["requests_per_minute"] = reader.requests_per_minute
    zone = get_zone(filled.get("time_zone") or "UTC") or UTC
    filled["backfill_from"] = filled.get("backfill_from") or get_today(zone) - FIRST_HISTORY
    return filled


def find_errors(source: Source) -> dict[str, str]:
    """Return one message for each field that is not valid for the source's vendor."""
    reader = readers().get(source.vendor)
    if reader is None:
        return {"vendor": f"No vendor is named “{source.vendor}”; there are {', '.join(readers())}."}
    errors = {
        "vendor": check_fixed(source, "vendor"),
        "base_url": check_base_url(source, reader),
        "time_zone": check_fixed(source, "time_zone") or check_time_zone(source, reader),
        "options": check_options(source, reader),
        "credential": check_credential(source),
        "credential_env": find_variable_problem(source.credential_env),
        "backfill_from": check_backfill(source),
    }
    return {field: message for field, message in errors.items() if message}


def check_fixed(source: Source, field: str) -> str:
    """Vendor and zone define what a day of the source is, so they are fixed once a day is loaded."""
    loaded = Source.objects.filter(pk=source.pk, days__loaded_at__isnull=False)
    stored = loaded.values_list(field, flat=True).first()
    if stored is None or stored == getattr(source, field):
        return ""
    return f"It stays {stored}: days of this source are stored. Add another source instead."


def check_base_url(source: Source, reader: type[VendorReader]) -> str:
    """Requests carry the credential, so they go to the vendor's own hosts or to those that the settings allow."""
    try:
        parse_base_url(source.base_url, reader.hosts, settings.PORTAL_ALLOWED_VENDOR_HOSTS)
    except HostNotAllowed as error:
        return error.reason
    return ""


def has_new_origin(source: Source) -> bool:
    """Return whether a stored source now sends to another origin or vendor than its credential belongs to."""
    stored = Source.objects.filter(pk=source.pk).values_list("vendor", "base_url").first()
    if stored is None:
        return False
    vendor, base_url = stored
    try:
        return vendor != source.vendor or get_url_origin(URL(base_url)) != get_url_origin(URL(source.base_url))
    except InvalidURL:
        return True


def check_time_zone(source: Source, reader: type[VendorReader]) -> str:
    """The vendor's own zone where it has one, else any IANA zone."""
    if reader.time_zone and source.time_zone != reader.time_zone:
        return f"Days of {reader.title} are days of {reader.time_zone}."
    if source.time_zone not in available_timezones():
        return f"“{source.time_zone}” is no time zone; a name such as Europe/Berlin is allowed."
    return ""


def check_options(source: Source, reader: type[VendorReader]) -> str:
    """The fields of the vendor's options type."""
    options: Any = source.options
    if not isinstance(options, Mapping):
        return 'A JSON object is allowed, such as {} or {"name": "value"}.'
    error = find_option_error(reader, options)
    return f"{error.reason}. Allowed: {describe_options(reader)}." if error else ""


def find_option_error(reader: type[VendorReader], options: Mapping[str, Any]) -> OptionsError | None:
    """Return the error of the first option that is not allowed; None where all are."""
    try:
        reader.parse_options(options)
    except OptionsError as error:
        return error
    return None


@dataclass(frozen=True, slots=True)
class Option:
    """One of a vendor's own options, as a form offers it; an `integer` from `minimum` to `maximum`, or text."""

    name: str
    title: str
    description: str
    default: str
    integer: bool
    minimum: int | None
    maximum: int | None


def list_options(reader: type[VendorReader]) -> list[Option]:
    """Return a vendor's options in their order; titles, descriptions and limits are those of its options type."""
    return [build_option(field) for field in msgspec.structs.fields(reader.options_type)]


def build_option(field: Any) -> Option:
    """Return a msgspec field of an options type as an option."""
    plain, *annotations = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
    meta = next((item for item in annotations if isinstance(item, msgspec.Meta)), msgspec.Meta())
    return Option(
        name=field.name,
        title=meta.title or field.name.replace("_", " ").capitalize(),
        description=meta.description or "",
        default="" if field.default is msgspec.NODEFAULT else str(field.default),
        integer=plain is int,
        minimum=None if meta.ge is None else int(meta.ge),
        maximum=None if meta.le is None else int(meta.le),
    )


def describe_options(reader: type[VendorReader]) -> str:
    """Return the names of a vendor's options, e.g. `workspace_ids, external_ids`; `none` without."""
    return ", ".join(option.name for option in list_options(reader)) or "none"


def parse_options(reader: type[VendorReader], texts: Iterable[str]) -> dict[str, Any]:
    """Return options from `name=value` texts; raises SyncError that names what is allowed."""
    option_names = {field.name for field in msgspec.structs.fields(reader.options_type)}
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in option_names:
            raise SyncError(f"“{text}” is no option of {reader.title}. Allowed: {describe_options(reader)}.")
        options[name] = value
    return options


def check_credential(source: Source) -> str:
    """Exactly one way to the credential, and characters that a header can carry."""
    if isinstance(source.credential, LockedText):
        # A person who changes another field may not have the credential; the source stays halted until it is entered.
        return ""
    if bool(source.credential) == bool(source.credential_env):
        return "Give either the credential or the name of an environment variable that holds it."
    if not (source.credential.isascii() and source.credential.isprintable()):
        return "Only printable ASCII characters without line breaks are allowed."
    return ""


def check_backfill(source: Source) -> str:
    """A first day within the last ten years or so, in the source's own zone."""
    first: date | None = source.backfill_from
    if first is None:
        return ""
    today = get_today(source.zone)
    earliest = today - LONGEST_HISTORY
    if not earliest <= first <= today:
        return f"A day from {earliest} to {today} is allowed."
    return ""
