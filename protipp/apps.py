from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    """The admin with our live pages in it. It lives here: a room may have only one AppConfig."""

    default_site = "performance.dashboard.site.Site"


class ProTippConfig(AppConfig):
    name = "protipp"
    label = "protipp"
    verbose_name = "ProTipp"
