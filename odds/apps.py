from django.apps import AppConfig


class OddsConfig(AppConfig):
    name = "odds"
    label = "odds"
    verbose_name = "Odds"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from odds.kickoffs import nodes_for_kickoffs  # it needs the models
        from performance.balancing.services import register_floor

        register_floor("fixtures", nodes_for_kickoffs)
