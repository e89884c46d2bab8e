from django.apps import AppConfig


class CachingConfig(AppConfig):
    name = "performance.caching"
    label = "performance_caching"
    verbose_name = "Performance · Caching"
    default_auto_field = "django.db.models.BigAutoField"
