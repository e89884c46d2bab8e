from django.apps import AppConfig

from performance.core import signals


class CDNConfig(AppConfig):
    name = "performance.cdn"
    label = "performance_cdn"
    verbose_name = "Performance · CDN"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from performance.cdn import services  # it needs the models

        signals.invalidated.connect(services.follow_invalidation, dispatch_uid="cdn.follow")
