from django.apps import AppConfig


class BalancingConfig(AppConfig):
    name = "performance.balancing"
    label = "performance_balancing"
    verbose_name = "Performance · Balancing"
    default_auto_field = "django.db.models.BigAutoField"
