"""The forms of a source: its settings, with a credential that is never read back, and a range of days."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget, AdminTextInputWidget

from sync.engine import plan
from sync.errors import SyncError
from sync.sources import Option, filled_in, goes_elsewhere, option_fault, options_of, vendor_errors
from sync.vendors import readers
from usage.admin.records.cells import day_in_words
from usage.models import Source

KEEP = "Stored encrypted and never shown again. Empty: what is stored stays as it is."
FIXED = "Fixed, because days of this source are held. Another account or zone is another source."
NEW_RATE = "The most that the vendor is asked, over all workers together. Empty: what the vendor documents."
NEW_FIRST_DAY = "The first day to read and to hold. Empty: 90 days ago."
ELSEWHERE = "Give the credential again: it goes to another address now."
OF_A_VARIABLE = "The credential is in an environment variable: somebody who sees all sources must change the address."
HELP = {
    "slug": "A short name of your own: letters, digits, - and _, such as main-account. Pages, addresses and commands "
    "call the source by it.",
    "credential_env": "Instead of storing the credential: the name of the environment variable that holds it where "
    "the portal and its workers run.",
    "enabled": "Off: nothing more is read. What is held stays and can still be looked at.",
    "backfill_from": "The first day to read and to hold. An earlier one makes the portal read the days in between.",
    "interval_minutes": "How many minutes pass between two readings. 60 is once an hour.",
    "look_back_days": "Vendors correct recent days. So many past days are provisional and are read again each time.",
    "max_concurrency": "How many days are read at the same time. More is faster, and asks more of the vendor.",
    "requests_per_minute": "The most that the vendor is asked, over all workers together. Empty: no limit.",
    "mirror_refuses_gaps": "Programs that read this source from the portal's mirror get the vendor's error 503 for "
    "days that are not held completely. Off: they get what is held.",
}
LABELS = {
    "slug": "Name",
    "credential_env": "Environment variable",
    "enabled": "Read this source",
    "backfill_from": "First day",
    "interval_minutes": "Minutes between readings",
    "look_back_days": "Days to look back",
    "max_concurrency": "Days at once",
    "requests_per_minute": "Requests a minute",
    "mirror_refuses_gaps": "Mirror refuses gaps",
}


class SourceForm(forms.ModelForm[Source]):
    """A source's settings; what the vendor prescribes may be left empty.

    Every vendor's own options are fields of their own, `option_<vendor>_<name>`; those of the chosen vendor count.
    """

    vendor = forms.ChoiceField(help_text="Whose API is read. Fixed once days are held.")
    base_url = forms.CharField(
        required=False,
        label="Base URL",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text="Where the vendor's API begins. Empty: the vendor's own address, which is nearly always right.",
    )
    time_zone = forms.ChoiceField(
        required=False,
        help_text="The zone whose calendar days are read: the one that the account has at the vendor. Fixed once days "
        "are held.",
    )
    new_credential = forms.CharField(
        required=False,
        label="Credential",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text=KEEP,
    )
    clear_credential = forms.BooleanField(
        required=False,
        label="Forget the stored credential",
        help_text="For using an environment variable instead.",
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
        help_texts = HELP

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "vendor" not in self.fields:  # shown to someone who may look at it only
            return
        choices(self, "vendor", [(name, reader.title) for name, reader in readers().items()])
        zones = sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")
        choices(self, "time_zone", [("", "The vendor's own, or UTC"), *((zone, zone) for zone in zones)])
        for vendor in vendors_offered(self.instance):
            for option in options_of(readers()[vendor]):
                self.fields[option_name(vendor, option.name)] = option_field(option, self.stored_options(vendor))
        if not self.kept:
            self.offer_defaults()
        elif self.instance.days.exists():
            for name in ("vendor", "time_zone"):
                self.fields[name].disabled = True
                self.fields[name].help_text = FIXED

    @property
    def kept(self) -> bool:
        """Whether the source exists already."""
        return self.instance.pk is not None

    @property
    def columns_set(self) -> list[str]:
        """The columns that a valid form sets; the credential only where it is another one or none now.

        To encrypt it again would look like a new one to the audit log.
        """
        own = [name for name in self._meta.fields or () if name in self.fields]
        return [*own, "options", "updated_at", *(("credential",) if self.credential_is_set else ())]

    @property
    def credential_is_set(self) -> bool:
        """Whether the form gives another credential or has the stored one forgotten."""
        return bool(self.cleaned_data.get("new_credential") or self.cleaned_data.get("clear_credential"))

    def offer_defaults(self) -> None:
        """Say of a new source what is filled in where a field is left empty."""
        self.fields[
            "new_credential"
        ].help_text = "The key or token, as the vendor gave it. Stored encrypted, never shown."
        self.fields["requests_per_minute"].help_text = NEW_RATE
        self.fields["backfill_from"].required = False
        self.fields["backfill_from"].help_text = NEW_FIRST_DAY

    def stored_options(self, vendor: str) -> Mapping[str, Any]:
        """Return the options that are kept for the source, where it is one of this vendor."""
        return self.instance.options if self.kept and self.instance.vendor == vendor else {}

    def clean(self) -> dict[str, Any]:
        """Fill in what was left empty and the vendor prescribes; later, no request rate is a choice."""
        given = super().clean() or self.cleaned_data
        filled = filled_in(given)
        if self.kept:
            filled["requests_per_minute"] = given.get("requests_per_minute")
        return filled

    def _post_clean(self) -> None:
        """Check the source by the vendor's rules as well as the model's."""
        self.set_credential()
        self.set_options()
        super()._post_clean()  # type: ignore[misc]
        self.keep_credential_here()
        for field, message in vendor_errors(self.instance).items():
            self.add_once(SHOWN_AS.get(field, field), message)

    def set_credential(self) -> None:
        """Replace or forget the stored credential where the form says so."""
        if self.credential_is_set:
            self.instance.credential = self.cleaned_data.get("new_credential", "")

    def keep_credential_here(self) -> None:
        """Refuse to send what is stored elsewhere: who types an address need not know the credential for another."""
        if self.credential_is_set or not goes_elsewhere(self.instance):
            return
        if self.instance.credential:
            self.add_once("new_credential", ELSEWHERE)
        elif "credential_env" not in self.fields:
            self.add_once("base_url", OF_A_VARIABLE)

    def set_options(self) -> None:
        """Take the options of the chosen vendor; what is left empty is as the vendor has it."""
        vendor = self.cleaned_data.get("vendor", "")
        if vendor not in vendors_offered(self.instance):
            return
        names = {option.name: option_name(vendor, option.name) for option in options_of(readers()[vendor])}
        given = {name: self.cleaned_data.get(field) for name, field in names.items()}
        self.instance.options = {name: value for name, value in given.items() if value not in (None, "")}
        wrong, reason = option_fault(readers()[vendor], self.instance.options)
        if reason:
            field = names.get(wrong) or next(iter(names.values()), "vendor")
            self.add_once(field, f"{reason[0].upper()}{reason[1:]}.")

    def add_once(self, field: str, message: str) -> None:
        """Say what is wrong with a field, unless something has been said of it already."""
        if field in self.fields and field not in self.errors:
            self.add_error(field, message)


# Errors of these columns are shown beside other fields; those of options beside the option that they are about.
SHOWN_AS = {"credential": "new_credential"}


def vendors_offered(source: Source) -> list[str]:
    """Return the vendors that a form offers the options of: the source's own where that is fixed, or every one."""
    fixed = source.pk is not None and source.days.exists()
    return [name for name in readers() if not fixed or name == source.vendor]


def option_name(vendor: str, option: str) -> str:
    """Return the name of the field of a vendor's option."""
    return f"option_{vendor}_{option}"


def option_field(option: Option, stored: Mapping[str, Any]) -> forms.Field:
    """Return the field of an option, filled with what is stored of it."""
    empty = f" Empty: {option.default}." if option.default else ""
    told: dict[str, Any] = {
        "label": option.title,
        "help_text": f"{option.description}{empty}",
        "required": False,
        "initial": as_text(stored.get(option.name)),
    }
    if not option.whole:
        return forms.CharField(widget=AdminTextInputWidget(), **told)
    told |= {"min_value": option.least, "max_value": option.most}
    return forms.IntegerField(widget=AdminIntegerFieldWidget(), **told)


def as_text(stored: Any) -> Any:
    """Return a stored option as it is typed: several values with commas between them."""
    return ", ".join(str(one) for one in stored) if isinstance(stored, list) else stored


def choices(form: forms.Form | forms.ModelForm[Any], name: str, options: Iterable[tuple[str, str]]) -> None:
    """Give a drop-down its options."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101
    field.choices = list(options)


class RangeForm(forms.Form):
    """Days to be read, both included."""

    first = forms.DateField(label="From", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Through", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, source: Source, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.source = source
        for field in self.fields.values():
            field.widget.attrs["max"] = plan.today(source).isoformat()

    def clean(self) -> dict[str, Any]:
        """Refuse what the engine would refuse, in words for a range whose last day is included."""
        asked = self.cleaned_data
        first, last = asked.get("first"), asked.get("last")
        if first is None or last is None:
            return asked
        if first > last:
            said = f"The first day, {day_in_words(first)}, lies after the last, {day_in_words(last)}."
            raise forms.ValidationError(said)
        if last > (today := plan.today(self.source)):
            raise forms.ValidationError(f"The last day lies in the future: {day_in_words(today)} at most.")
        try:
            plan.check_range(self.source, first, last + timedelta(days=1))
            plan.check_running(self.source)
        except SyncError as error:
            raise forms.ValidationError(error.reason) from None
        return asked

    @property
    def days(self) -> int:
        """How many days a valid range has."""
        return int((self.cleaned_data["last"] - self.cleaned_data["first"]).days + 1)


def faults(form: forms.Form) -> list[str]:
    """Return what is wrong with a form, a sentence each."""
    return [
        str(fault) if name == "__all__" else f"{form.fields[name].label or name}: {fault}"
        for name, found in form.errors.items()
        for fault in found
    ]
