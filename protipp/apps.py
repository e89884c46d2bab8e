from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig
from django.contrib.staticfiles.apps import StaticFilesConfig as DjangoStaticFilesConfig


class AdminConfig(DjangoAdminConfig):
    """The admin with our live pages in it. It lives here: a room may have only one AppConfig."""

    default_site = "performance.dashboard.site.Site"


class StaticFilesConfig(DjangoStaticFilesConfig):
    """Collects no source maps, which are nobody's business, nor what no page of ours names."""

    ignore_patterns = [
        *DjangoStaticFilesConfig.ignore_patterns,
        "*.map",
        "ext",  # htmx's extensions
        "redoc.standalone.js",
        "htmax-*.js",
        "web-vitals.*.js",  # its other builds
        "*.cjs",
    ]


class ProTippConfig(AppConfig):
    name = "protipp"
    label = "protipp"
    verbose_name = "ProTipp"
