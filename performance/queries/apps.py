from django.apps import AppConfig


class QueriesConfig(AppConfig):
    name = "performance.queries"
    label = "performance_queries"
    verbose_name = "Performance · Queries"
    default_auto_field = "django.db.models.BigAutoField"
