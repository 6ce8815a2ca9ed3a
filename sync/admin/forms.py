"""The forms of a source: its settings, with a credential that is never read back, and a range of days."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib.admin.widgets import AdminTextareaWidget

from sync.sources import filled_in, vendor_errors
from sync.vendors import readers
from usage.models import Source

KEEP = "Stored encrypted and never shown. Empty: what is stored stays as it is."
FIXED = "Fixed, because days of this source are held."


class SourceForm(forms.ModelForm[Source]):
    """A source's settings; what the vendor prescribes may be left empty."""

    vendor = forms.ChoiceField(help_text="Whose API it is; fixed once days are held.")
    base_url = forms.CharField(
        required=False,
        label="Base URL",
        widget=forms.URLInput(attrs={"class": "vURLField"}),
        help_text="Empty: the vendor's own address.",
    )
    time_zone = forms.ChoiceField(
        required=False,
        help_text="The zone whose calendar days the source is read by; fixed once days are held.",
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
    options = forms.JSONField(
        required=False,
        initial=dict,
        widget=AdminTextareaWidget(attrs={"rows": 4}),
        help_text="A JSON object, such as {}.",
    )

    class Meta:
        model = Source
        fields = (
            "slug",
            "vendor",
            "base_url",
            "credential_env",
            "time_zone",
            "options",
            "enabled",
            "interval_minutes",
            "backfill_from",
            "look_back_days",
            "max_concurrency",
            "requests_per_minute",
            "mirror_refuses_gaps",
        )
        labels = {"credential_env": "Environment variable"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "vendor" not in self.fields:  # shown to someone who may look at it only
            return
        choices(self, "vendor", [(name, reader.title) for name, reader in readers().items()])
        zones = sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")
        choices(self, "time_zone", [("", "The vendor's own, or UTC"), *((zone, zone) for zone in zones)])
        if not self.kept:
            self.fields["backfill_from"].required = False
            self.fields["backfill_from"].help_text = "The first day to hold; empty: 90 days ago."
            said = "Over all workers; empty: what the vendor documents."
            self.fields["requests_per_minute"].help_text = said
        elif self.instance.days.exists():
            for name in ("vendor", "time_zone"):
                self.fields[name].disabled = True
                self.fields[name].help_text = FIXED

    @property
    def kept(self) -> bool:
        """Whether the source exists already."""
        return self.instance.pk is not None

    def clean_options(self) -> Any:
        """Take an empty input as no options."""
        given = self.cleaned_data["options"]
        return {} if given is None else given

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
        super()._post_clean()  # type: ignore[misc]
        for field, message in vendor_errors(self.instance).items():
            shown = "new_credential" if field == "credential" else field
            if shown not in self.errors:
                self.add_error(shown, message)

    def set_credential(self) -> None:
        """Replace or forget the stored credential where the form says so."""
        given = self.cleaned_data.get("new_credential", "")
        if given or self.cleaned_data.get("clear_credential"):
            self.instance.credential = given


def choices(form: forms.Form | forms.ModelForm[Any], name: str, options: Iterable[tuple[str, str]]) -> None:
    """Give a drop-down its options."""
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101
    field.choices = list(options)


class RangeForm(forms.Form):
    """Days to read again, from the first to the last, both included."""

    first = forms.DateField(label="First day", widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label="Last day, included", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        """Refuse a range that ends before it begins."""
        given = super().clean() or {}
        if given.get("first") and given.get("last") and given["last"] < given["first"]:
            raise forms.ValidationError("The last day lies before the first.")
        if given.get("last"):
            given["end"] = given["last"] + timedelta(days=1)
        return given
