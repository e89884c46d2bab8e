from django.apps import AppConfig


class OddsConfig(AppConfig):
    name = "odds"
    label = "odds"
    verbose_name = "Odds"
    default_auto_field = "django.db.models.BigAutoField"
