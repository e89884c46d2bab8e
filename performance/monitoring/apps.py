from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "performance.monitoring"
    label = "performance_monitoring"
    verbose_name = "Performance · Monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from performance.monitoring import services  # needs the models

        services.install()
