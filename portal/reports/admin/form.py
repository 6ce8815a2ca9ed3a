"""The form of a report: an own or a shared saved view, and people or addresses that it may go to."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from portal.accounts.permissions import get_visible_users, request_user
from portal.incidents.admin.channels import list_zone_choices
from portal.reports.answer import list_moving_views
from portal.reports.models import Report, Wait
from portal.reports.schedule import get_next
from usage.models import SavedView

# Ranges that last until today or longer: no day of theirs is over before they are.
OPEN_RANGES = "this-"


class ReportForm(forms.ModelForm[Report]):
    """A report's settings; `request` is of its owner."""

    request: HttpRequest

    time_zone = forms.ChoiceField(choices=list_zone_choices, initial="UTC", help_text="The zone of the time.")
    view = forms.ModelChoiceField(
        SavedView.objects.none(),
        label="Saved view",
        help_text="One whose range moves with the calendar, such as last month.",
    )
    people = forms.ModelMultipleChoiceField(
        User.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, help_text="Users with an address."
    )

    class Meta:
        widgets = {
            "addresses": forms.Textarea(attrs={"rows": 3, "cols": 60}),
            "time": forms.TimeInput({"type": "time"}, format="%H:%M"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" not in self.fields:  # another person's report
            return
        view, people = self.fields["view"], self.fields["people"]
        assert isinstance(view, forms.ModelChoiceField)  # noqa: S101
        assert isinstance(people, forms.ModelMultipleChoiceField)  # noqa: S101
        view.queryset = SavedView.objects.filter(
            pk__in=[saved_view.pk for saved_view in list_moving_views(self.request)]
        )
        people.queryset = list_people(self.request)

    def clean_name(self) -> str:
        """Return the name; raises ValidationError where another report of this person has it."""
        name: str = self.cleaned_data["name"].strip()
        if Report.objects.filter(owner=request_user(self.request), name=name).exclude(pk=self.instance.pk).exists():
            raise ValidationError(f"You have a report “{name}” already; give another name.")
        return name

    def clean(self) -> dict[str, Any]:
        """Check that the report has a recipient, and that what it waits for can come."""
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("people") and not cleaned.get("addresses") and "addresses" not in self.errors:
            self.add_error("people", "Choose somebody, or give an address below.")
        view = cleaned.get("view")
        if view and view.moving_range.startswith(OPEN_RANGES) and cleaned.get("wait") != Wait.NOTHING:
            range_label = view.moving_range.replace("-", " ")
            self.add_error("wait", f"The range of this view, {range_label}, has not ended: choose to wait for nothing.")
        return cleaned

    def set_schedule(self) -> None:
        """Set when the report is sent next, unless it is stopped, or due by now: then the next tick sends it first."""
        report, now = self.instance, timezone.now()
        is_due = report.next_at is not None and report.next_at <= now
        if report.stopped_at is None and not is_due:
            report.next_at = get_next(report, now)


def list_people(request: HttpRequest) -> QuerySet[User]:
    """Return the users that a person may send to: themselves, and the users whom they see, if they may see users."""
    actor = request_user(request)
    users = get_visible_users(actor) if actor.has_perm("auth.view_user") else User.objects.filter(pk=actor.pk)
    return users.filter(is_active=True).exclude(email="").order_by("username")
