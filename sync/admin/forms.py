"""The forms of a source: its settings, with a credential that is never shown again, and a range of days."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget
from django.db import models

from sync.engine import plan
from sync.errors import SyncError
from sync.source_changes import get_first_possible_last_day, has_archived_days, has_loaded_days, require_no_reading
from sync.sources import Option, fill_defaults, find_errors, find_option_error, has_new_origin, list_options, probe
from sync.vendors import readers
from usage.datetimes import list_zones
from usage.days import get_today
from usage.formatting import format_date
from usage.models import Source

STORED_CREDENTIAL_HELP = "Stored encrypted and never shown again. Empty: the stored credential is kept."
NEW_CREDENTIAL_HELP = "The key or token, as the vendor gave it. Stored encrypted, never shown."
FIXED_HELP = (
    "Fixed, because days of it are stored. For another account or time zone add another source, and retire this one."
)
NEW_RATE_HELP = "The maximum over all workers together. Empty: the vendor's documented limit."
NEW_FIRST_DAY_HELP = "The first day to sync. Empty: 90 days ago."
NEW_ORIGIN_ERROR = "Enter the credential again, because it is now sent to another address."
VARIABLE_ERROR = "The credential is in an environment variable: a person who sees all sources must change the address."
HELP_TEXTS = {
    "slug": "A short name: letters, digits, - and _, such as main-account. Pages, addresses and commands use it.",
    "credential_env": "Instead of a stored credential: the name of the environment variable that holds it, where the "
    f"portal and its workers run. It begins with {settings.PORTAL_CREDENTIAL_PREFIX}.",
    "enabled": "Off: nothing is synced. The stored records stay.",
    "backfill_from": "The first day to sync. With an earlier one the days in between are synced.",
    "interval_minutes": "60 is once an hour.",
    "look_back_days": "Vendors correct recent days. This many past days are provisional and synced again each time.",
    "max_concurrency": "How many days are synced at the same time. More is faster and sends the vendor more requests.",
    "requests_per_minute": "The maximum over all workers together. Empty: no limit.",
    "mirror_refuses_gaps": "Clients of the portal's mirror get the vendor's error 503 for incomplete days. Off: they "
    "get the stored records.",
}
LABELS = {
    "slug": "Name",
    "credential_env": "Environment variable",
    "enabled": "Sync this source",
    "backfill_from": "First day",
    "interval_minutes": "Minutes between syncs",
    "look_back_days": "Look-back days",
    "max_concurrency": "Days at once",
    "requests_per_minute": "Requests per minute",
    "mirror_refuses_gaps": "Mirror refuses gaps",
}
# What a connection depends on.
CONNECTION_FIELDS = ("vendor", "base_url", "time_zone", "new_credential", "credential_env")
# Errors of these columns are shown beside other fields.
ERROR_FIELDS = {"credential": "new_credential"}


class SourceForm(forms.ModelForm[Source]):
    """A source's settings; fields with a default of the vendor may be left empty.

    Every option of every vendor is a field `option_<vendor>_<name>`; those of the selected vendor are stored.
    """

    vendor = forms.ChoiceField(help_text="Fixed once a day of the source is stored.")
    base_url = forms.CharField(
        required=False,
        label="Base URL",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text="The address of the vendor's API. Empty: the vendor's own, which is nearly always right.",
    )
    time_zone = forms.ChoiceField(
        required=False,
        help_text="The time zone of the account at the vendor, whose calendar days are synced. Fixed once a day "
        "of the source is stored.",
    )
    new_credential = forms.CharField(
        required=False,
        label="Credential",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text=STORED_CREDENTIAL_HELP,
    )
    clear_credential = forms.BooleanField(
        required=False,
        label="Delete the stored credential",
        help_text="To use an environment variable instead.",
    )

    class Meta:
        model = Source
        fields = (
            "slug",
            "vendor",
            "base_url",
            "credential_env",
            "time_zone",
            "enabled",
            "interval_minutes",
            "backfill_from",
            "look_back_days",
            "max_concurrency",
            "requests_per_minute",
            "mirror_refuses_gaps",
        )
        labels = LABELS
        help_texts = HELP_TEXTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self._meta.model._meta.concrete_fields:
            if isinstance(field, models.IntegerField) and field.name in self.fields:
                # Before the instance has the value, which the page computes with, also where it is refused.
                self.fields[field.name].validators += field.validators
        set_choices(self, "vendor", [(name, reader.title) for name, reader in readers().items()])
        set_choices(self, "time_zone", [("", "The vendor's own, or UTC"), *((zone, zone) for zone in list_zones())])
        for vendor in list_offered_vendors(self.instance):
            for option in list_options(readers()[vendor]):
                name = get_option_field_name(vendor, option.name)
                self.fields[name] = build_option_field(option, self.get_stored_options(vendor))
        if not self.is_stored:
            self.describe_defaults()
        elif has_loaded_days(self.instance):
            for name in ("vendor", "time_zone"):
                self.fields[name].disabled = True
                self.fields[name].help_text = FIXED_HELP

    @property
    def is_stored(self) -> bool:
        return self.instance.pk is not None

    @property
    def changed_columns(self) -> list[str]:
        """The columns that a valid form sets; the credential only where it changes.

        An unchanged credential that is encrypted again would look like a change to the audit log.
        """
        columns = [name for name in self._meta.fields or () if name in self.fields]
        return [*columns, "options", "updated_at", *(("credential",) if self.changes_credential else ())]

    @property
    def changes_credential(self) -> bool:
        """Whether the form sets or deletes the credential."""
        return bool(self.cleaned_data.get("new_credential") or self.cleaned_data.get("clear_credential"))

    @property
    def changes_connection(self) -> bool:
        """Whether the form changes what a connection depends on."""
        changed_fields = {name for name in self.changed_data if name in CONNECTION_FIELDS or name.startswith("option_")}
        return self.changes_credential or bool(changed_fields)

    def describe_defaults(self) -> None:
        self.fields["new_credential"].help_text = NEW_CREDENTIAL_HELP
        self.fields["requests_per_minute"].help_text = NEW_RATE_HELP
        self.fields["backfill_from"].required = False
        self.fields["backfill_from"].help_text = NEW_FIRST_DAY_HELP

    def get_stored_options(self, vendor: str) -> Mapping[str, Any]:
        """Return the stored options, where the source is of this vendor."""
        stored = self.instance.options if self.is_stored and self.instance.vendor == vendor else {}
        return stored if isinstance(stored, dict) else {}

    def clean(self) -> dict[str, Any]:
        """Fill in the vendor's defaults; an existing source may have no request rate."""
        values = super().clean() or self.cleaned_data
        if self.is_stored and "vendor" in self.changed_data and "base_url" not in self.changed_data:
            # The address of the previous vendor is not that of the new vendor.
            values["base_url"] = ""
        filled = fill_defaults(values)
        if self.is_stored:
            filled["requests_per_minute"] = values.get("requests_per_minute")
        return filled

    def _post_clean(self) -> None:
        """Apply the vendor's rules as well as the model's."""
        self.set_credential()
        self.set_options()
        super()._post_clean()  # type: ignore[misc]
        self.check_credential_origin()
        self.check_calendar()
        self.check_slug()
        for field, message in find_errors(self.instance).items():
            self.add_first_error(ERROR_FIELDS.get(field, field), message)

    def set_credential(self) -> None:
        if self.changes_credential:
            self.instance.credential = self.cleaned_data.get("new_credential", "")

    def check_credential_origin(self) -> None:
        """Add an error where the stored credential would be sent to another address."""
        if self.changes_credential or not has_new_origin(self.instance):
            return
        if self.instance.credential:
            self.add_first_error("new_credential", NEW_ORIGIN_ERROR)
        elif "credential_env" not in self.fields:
            self.add_first_error("base_url", VARIABLE_ERROR)

    def check_calendar(self) -> None:
        """Add an error where another vendor or zone would change the days while a worker reads one of them."""
        changed = [name for name in ("vendor", "time_zone") if name in self.changed_data]
        if not self.is_stored or not changed:
            return
        try:
            require_no_reading(self.instance)
        except SyncError as error:
            self.add_first_error(changed[0], error.reason)

    def check_slug(self) -> None:
        """Add an error where records are in the lake alone, which knows them by the source's name."""
        if self.is_stored and "slug" in self.changed_data and has_archived_days(self.instance):
            self.add_first_error("slug", "Days of this source are archived in the lake under this name: it stays.")

    def set_options(self) -> None:
        """Set the options of the selected vendor, without empty options."""
        vendor = self.cleaned_data.get("vendor", "")
        if vendor not in list_offered_vendors(self.instance):
            return
        names = {option.name: get_option_field_name(vendor, option.name) for option in list_options(readers()[vendor])}
        values = {name: self.cleaned_data.get(field) for name, field in names.items()}
        self.instance.options = {name: value for name, value in values.items() if value not in (None, "")}
        if error := find_option_error(readers()[vendor], self.instance.options):
            field = names.get(error.option) or next(iter(names.values()), "vendor")
            self.add_first_error(field, f"{error.problem[0].upper()}{error.problem[1:]}.")

    def add_first_error(self, field: str, message: str) -> None:
        if field in self.fields and field not in self.errors:
            self.add_error(field, message)


@dataclass(frozen=True, slots=True)
class ConnectionResult:
    """How a test ended, and what to do about it; `errors` are fields to correct before the test."""

    ok: bool
    message: str
    advice: str = ""
    errors: Sequence[tuple[str, str]] = ()


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


def list_offered_vendors(source: Source) -> list[str]:
    """Return the vendors whose options a form shows: the source's own where that is fixed, or all."""
    fixed = has_loaded_days(source)
    return [name for name in readers() if not fixed or name == source.vendor]


def get_option_field_name(vendor: str, option: str) -> str:
    """Return the name of the field of a vendor's option."""
    return f"option_{vendor}_{option}"


def build_option_field(option: Option, stored: Mapping[str, Any]) -> forms.Field:
    """Return the field of an option, filled with what is stored of it."""
    empty = f" Empty: {option.default}." if option.default else ""
    options: dict[str, Any] = {
        "label": option.title,
        "help_text": f"{option.description}{empty}",
        "required": False,
        "initial": format_option(stored.get(option.name)),
    }
    if not option.integer:
        return forms.CharField(widget=AdminTextInputWidget(), **options)
    options |= {"min_value": option.minimum, "max_value": option.maximum}
    return forms.IntegerField(widget=AdminIntegerFieldWidget(), **options)


def format_option(stored: Any) -> Any:
    """Return a stored option as it is typed: several values with commas between them."""
    return ", ".join(map(str, stored)) if isinstance(stored, list) else stored


def set_choices(form: forms.Form | forms.ModelForm[Any], name: str, options: Iterable[tuple[str, str]]) -> None:
    """Set the choices of a drop-down."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101
    field.choices = list(options)


class SyncRangeForm(forms.Form):
    """Days to sync, both included."""

    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Through", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, source: Source, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source = source
        for field in self.fields.values():
            field.widget.attrs["max"] = get_today(source.zone).isoformat()

    def clean(self) -> dict[str, Any]:
        """Check what the engine checks, with messages for a range whose last day is included."""
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first is None or last is None:
            return self.cleaned_data
        if first > last:
            raise forms.ValidationError(f"The first day, {format_date(first)}, is after the last, {format_date(last)}.")
        if last > (today := get_today(self.source.zone)):
            raise forms.ValidationError(f"The last day is in the future: {format_date(today)} at most.")
        try:
            plan.check_range(self.source, first, last + timedelta(days=1))
            plan.check_running(self.source)
        except SyncError as error:
            raise forms.ValidationError(error.reason) from None
        return self.cleaned_data

    @property
    def days(self) -> int:
        return int((self.cleaned_data["last"] - self.cleaned_data["first"]).days + 1)


class RetireForm(forms.Form):
    """The last day of a source that is not used any more, and the confirmation."""

    last_day = forms.DateField(label="Last day", widget=forms.DateInput(attrs={"type": "date"}))
    sure = forms.BooleanField(label="Delete its credential and sync it no more")

    def __init__(self, source: Source, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        earliest, latest = get_first_possible_last_day(source), get_today(source.zone)
        self.fields["last_day"].initial = earliest
        bounds = {"min": earliest.isoformat() if earliest else "", "max": latest.isoformat()}
        self.fields["last_day"].widget.attrs.update(bounds)


def list_errors(form: forms.Form) -> list[str]:
    """Return the errors of a form as sentences that name their fields."""
    return [
        str(error) if name == "__all__" else f"{form.fields[name].label or name}: {error}"
        for name, errors in form.errors.items()
        for error in errors
    ]
