"""`manage.py health`: whether requests can be answered and the work continues, for scripts and supervisors."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.health import views


class Command(BaseCommand):
    help = "Tell whether the portal is ready and whether beat and a worker live; exit status 1 where one is not."

    def handle(self, *args: Any, **options: Any) -> None:
        if reasons := [*views.readiness.get_reasons(), *views.work.get_reasons(), *views.schema.get_reasons()]:
            raise CommandError("\n".join(reasons))
        self.stdout.write("Ready. Beat and a worker live.")
