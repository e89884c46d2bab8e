from django.apps import AppConfig


class CDNConfig(AppConfig):
    name = "performance.cdn"
    label = "performance_cdn"
    verbose_name = "Performance · CDN"
    default_auto_field = "django.db.models.BigAutoField"
