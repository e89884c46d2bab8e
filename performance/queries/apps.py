from django.apps import AppConfig
from django.db.backends.signals import connection_created


class QueriesConfig(AppConfig):
    name = "performance.queries"
    label = "performance_queries"
    verbose_name = "Performance · Queries"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from performance.queries.capture import install

        connection_created.connect(install, dispatch_uid="performance.queries.capture")
