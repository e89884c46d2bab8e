from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_delete, post_save


class CachingConfig(AppConfig):
    name = "performance.caching"
    label = "performance_caching"
    verbose_name = "Performance · Caching"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from performance.caching import checks, configuring  # they need the models

        del checks
        model = self.get_model("CacheConfig")
        for signal in (post_save, post_delete):
            signal.connect(
                configuring.publish_after_commit, sender=model, dispatch_uid="caching.publish"
            )
        connection_created.connect(configuring.watch_writes, dispatch_uid="caching.statements")
