"""The addresses under /health/, which strangers, load balancers and monitors request, under any host name."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.health.readiness import DOWN, find_unready, find_waiting
from portal.health.shared_check import SharedCheck
from portal.health.work import NO_REDIS, find_silent

readiness = SharedCheck(find_unready, DOWN)
work = SharedCheck(find_silent, NO_REDIS)
schema = SharedCheck(find_waiting, DOWN)


@never_cache
@require_safe
def answer_live(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001
    """Answer 200: this process answers; nothing else is checked."""
    return JsonResponse({"live": True})


@never_cache
@require_safe
def answer_ready(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001
    """Answer 200 where requests can be answered, else 503 with the reason, which contains no secret."""
    return build_answer("ready", readiness.get_reasons())


@never_cache
@require_safe
def answer_work(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001
    """Answer 200 where beat and a worker are alive and work, else 503 with the reasons."""
    return build_answer("work", [*work.get_reasons(), *schema.get_reasons()])


def build_answer(name: str, reasons: list[str]) -> JsonResponse:
    """Return 200 without reasons, else 503."""
    return JsonResponse({name: not reasons, "reasons": reasons}, status=503 if reasons else 200)


VIEWS: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "/health/live": answer_live,
    "/health/ready": answer_ready,
    "/health/work": answer_work,
}


class HealthMiddleware:
    """Answers the addresses under /health/ before anything that checks the host name, a session or the database.

    A load balancer requests an address that is not in ALLOWED_HOSTS.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return VIEWS.get(request.path, self.get_response)(request)
