from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class DashboardConfig(AppConfig):
    name = "performance.dashboard"
    label = "performance_dashboard"
    verbose_name = "Performance · Dashboard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from performance.dashboard import access, checks, confirmation, login

        for listener in (access, confirmation, login):
            listener.connect()
        checks.register()
        autodiscover_modules("pages")
