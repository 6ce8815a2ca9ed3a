"""Accepting the findings of a day: request a reason, show it once more, and accept on confirmation."""

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from sync.admin.actions import get_username, has_sync_permission
from sync.admin.coverage.panel import DayPanel
from sync.engine.acceptance import LONGEST_REASON, accept_findings, withdraw_acceptance
from sync.errors import SyncError
from usage.admin.base import PortalAdmin
from usage.models import SourceDay


class AcceptanceForm(forms.Form):
    """Why findings are accepted; `findings` are those that the person saw."""

    findings = forms.CharField(widget=forms.HiddenInput)
    reason = forms.CharField(max_length=LONGEST_REASON, widget=forms.Textarea(attrs={"rows": 3}))


def show_acceptance(admin: PortalAdmin, request: HttpRequest, day: SourceDay) -> HttpResponse:
    """Request a reason, then a confirmation, and accept the findings of the day; or withdraw an acceptance."""
    if not has_sync_permission(request) or not admin.has_view_permission(request, day):
        raise PermissionDenied
    form = AcceptanceForm(request.POST if request.method == "POST" else None, initial={"findings": day.findings})
    confirmed = request.method == "POST" and form.is_valid()
    action = request.POST.get("action")
    if action == "withdraw" or (action == "accept" and confirmed):
        reason = form.cleaned_data["reason"] if action == "accept" else ""
        findings = form.cleaned_data["findings"] if action == "accept" else ""
        return change_acceptance(admin, request, day, findings, reason)
    context = {
        **admin.admin_site.each_context(request),
        "title": "Withdraw the acceptance" if day.accepted_at else "Accept findings",
        "panel": DayPanel.build(request, day.source, day.day),
        "form": form,
        "confirmed": confirmed,
        "back": get_day_url(day),
    }
    return render(request, "admin/coverage/accept.html", context)


def change_acceptance(
    admin: PortalAdmin, request: HttpRequest, day: SourceDay, findings: str, reason: str
) -> HttpResponse:
    """Accept the findings that the person saw or, without a reason, withdraw the acceptance; then show the day."""
    try:
        if reason:
            day.findings = findings
            accept_findings(day, get_username(request), reason)
            message = f"The findings of {day} are accepted."
        else:
            withdraw_acceptance(day)
            message = f"The acceptance of {day} is withdrawn; its findings count again."
    except SyncError as error:
        messages.error(request, error.reason)
    else:
        admin.log_change(request, day, f"{message} {reason}".strip())
        messages.success(request, message)
    return redirect(get_day_url(day))


def get_day_url(day: SourceDay) -> str:
    """Return the address of the day's page."""
    return reverse("admin:usage_sourceday_change", args=[day.pk])
