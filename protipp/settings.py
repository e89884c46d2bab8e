"""All settings. What differs between machines comes from the environment, by `protipp.env`."""

from __future__ import annotations

from typing import Any

import dj_database_url
import django_stubs_ext
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from protipp import env

django_stubs_ext.monkeypatch()  # lets `ModelAdmin[Model]` be written

BASE_DIR = env.BASE_DIR

# --- who we are -------------------------------------------------------------------------------
DEBUG = env.flag("DEBUG")
SECRET_KEY = env.text("SECRET_KEY") or "insecure-key-of-a-command-without-a-stack"
SECRET_KEY_FALLBACKS = env.items("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
SITE_URL = env.text("SITE_URL", "http://127.0.0.1:8000")
"""Absolute links are made from this, never from a request's Host."""
PROCESS = env.text("PROTIPP_PROCESS", "command")
"""What this process is: web, live, worker, beat, monitor, balance, feed or command."""
NODE_ID = env.text("PROTIPP_NODE_ID", PROCESS)

ROOT_URLCONF = "protipp.urls"
WSGI_APPLICATION = "protipp.wsgi.application"
ASGI_APPLICATION = "protipp.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "protipp.apps.AdminConfig",  # django.contrib.admin, with our live pages in its sidebar
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "protipp.apps.StaticFilesConfig",  # django.contrib.staticfiles, less what no page names
    "django.contrib.postgres",
    "csp",
    "channels",
    "ninja",
    "django_htmx",
    "django_prometheus",
    "performance.monitoring",
    "performance.caching",
    "performance.queries",
    "performance.cdn",
    "performance.balancing",
    "performance.dashboard",
    "odds",
    "protipp.apps.ProTippConfig",
]

PERFORMANCE_LAYER = env.flag("PERFORMANCE_LAYER", default=True)
"""Off: no request is cached, counted or captured. It shows what the layer costs and brings."""
_COUNTING = [
    "performance.monitoring.http.name_request",
    "performance.queries.middleware.count_queries",
]
MIDDLEWARE = [
    *(_COUNTING if PERFORMANCE_LAYER else ()),
    "performance.queries.router.read_own_writes",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "performance.balancing.marking.mark_privileged",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {"environment": "odds.drawing.environment"},
    },
]

# --- PostgreSQL -------------------------------------------------------------------------------
DATABASE_POOL_SIZE = env.number("DATABASE_POOL_SIZE", 0)
"""Connections a process may hold in psycopg's pool; 0 keeps one persistent connection a thread."""
QUERY_LIMITS_MS = {"web": 2_000, "live": 2_000, "feed": 10_000, "monitor": 5_000, "balance": 5_000}
QUERY_LIMIT_MS = env.number("QUERY_LIMIT_MS", QUERY_LIMITS_MS.get(PROCESS, 0))
"""`statement_timeout`, and shortly after it the end of every wait by the client itself; 0 is none,
as commands and tasks have it: an import's merge may take its time."""


def _database(url: str) -> dict[str, Any]:
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except (dj_database_url.ParseError, dj_database_url.UnknownSchemeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"DATABASE_URL cannot be read ({error}); "
            "it looks like postgresql://user:password@host:5432/name."
        ) from None
    if database["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured(
            f"DATABASE_URL names {database['ENGINE'].rsplit('.', 1)[-1]}; ProTipp needs "
            "postgresql:// (PostgreSQL 15 or newer)."
        )
    database["ENGINE"] = "performance.queries.postgresql"  # its connections cannot hang
    options = database.setdefault("OPTIONS", {})
    options |= {
        "application_name": f"protipp {NODE_ID}",
        "connect_timeout": 2,
        "tcp_user_timeout": 5_000,
        "keepalives_idle": 5,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        # Planning a board's query cost more than running it, and Django prepares nothing by itself.
        "server_side_binding": True,
        "prepare_threshold": 5,
        "options": f"-c statement_timeout={QUERY_LIMIT_MS} -c plan_cache_mode=force_generic_plan",
    }
    database["CONN_HEALTH_CHECKS"] = True
    if DATABASE_POOL_SIZE:
        # Both default to minutes: a dead server would hold every thread for that long.
        options["pool"] = {
            "min_size": 1,
            "max_size": DATABASE_POOL_SIZE,
            "timeout": 1,
            "reconnect_timeout": 1,
        }
        database["CONN_MAX_AGE"] = 0
    else:
        database["CONN_MAX_AGE"] = 600
    return database


DATABASES = {"default": _database(env.text("DATABASE_URL", "postgresql://127.0.0.1:5432/protipp"))}
for _number, _url in enumerate(env.items("DATABASE_REPLICA_URLS"), start=1):
    DATABASES[f"replica{_number}"] = _database(_url) | {"TEST": {"MIRROR": "default"}}
DATABASE_ROUTERS = ["performance.queries.router.Router"]

# --- the two Redis-compatible servers -----------------------------------------------------------
CACHE_URL = env.text("CACHE_URL", "redis://127.0.0.1:6379/0")
"""Bounded and evicting: only what can be computed again."""
REDIS_URL = env.text("REDIS_URL", "redis://127.0.0.1:6380/0")
"""`noeviction`: broker, channel layer, registry, locks, broadcasts, sessions."""

_REDIS_OPTIONS = {
    "SERIALIZER": "django_redis.serializers.json.JSONSerializer",  # never pickle
    "SOCKET_TIMEOUT": 0.5,
    "SOCKET_CONNECT_TIMEOUT": 0.5,
    "IGNORE_EXCEPTIONS": True,
}
# django-redis does not know our addresses of sentinels and clusters. Nothing of ours uses this
# cache but Django's own parts, so there each process may keep its own.
_django_s_own: dict[str, Any] = (
    {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    if "+" in CACHE_URL.partition("://")[0]
    else {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": CACHE_URL,
        "KEY_PREFIX": "django",
        "OPTIONS": _REDIS_OPTIONS,
    }
)
CACHES = {
    "default": _django_s_own,
    "sessions": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "session",
        "OPTIONS": _REDIS_OPTIONS,
    },
}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
SESSION_CACHE_ALIAS = "sessions"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # redis-py's own socket_timeout would end an idle subscriber.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}], "prefix": "layer"},
    }
}

CELERY_BROKER_URL = REDIS_URL

# --- static files -----------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = env.LOCAL_DIR / "static"
STATICFILES_DIRS: list[Any] = [BASE_DIR / "static"]
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "performance.cdn.storage.HashedStorage"},
}
MEDIA_S3_BUCKET = env.text("MEDIA_S3_BUCKET")
if MEDIA_S3_BUCKET:
    # What people upload is nobody else's: the bucket is private, and each address is signed.
    STORAGES["default"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": MEDIA_S3_BUCKET,
            "endpoint_url": env.text("MEDIA_S3_ENDPOINT") or None,
            "default_acl": None,
            "querystring_auth": True,
            "querystring_expire": 300,
            "signature_version": "s3v4",
            "file_overwrite": False,
        },
    }
CDN_BASE_URL = env.text("CDN_BASE_URL")
_UPLOT = BASE_DIR / "node_modules" / "uplot" / "dist"
if _UPLOT.is_dir():
    STATICFILES_DIRS.append(("vendor/uplot", _UPLOT))
_WEB_VITALS = BASE_DIR / "node_modules" / "web-vitals" / "dist"
if _WEB_VITALS.is_dir():
    STATICFILES_DIRS.append(("vendor/web-vitals", _WEB_VITALS))

PROXY_DIRECTORY = env.text("PROTIPP_HAPROXY_DIR")
"""Where haproxy.cfg and its sockets are; empty where no stack runs."""
READYZ_TOKEN = env.text("READYZ_TOKEN")
"""Opens /readyz's details and /scaling/<kind> to a bearer; empty leaves them to staff."""

# --- security ---------------------------------------------------------------------------------
SECURE = SITE_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_SSL_REDIRECT = False
# Where TLS ends, plain HTTP is redirected for pages; the API must never do it, as a client that
# sends its key over plain HTTP should fail and not go on.
SILENCED_SYSTEM_CHECKS = ["security.W008"]
SECURE_PROXY_SSL_HEADER = (
    "HTTP_X_FORWARDED_PROTO",
    "https",
)  # HAProxy overwrites what clients send
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_TRUSTED_ORIGINS = [SITE_URL]
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 1000
_CDN = [CDN_BASE_URL] if CDN_BASE_URL else []
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, *_CDN],
        "style-src": [SELF, *_CDN],
        "img-src": [SELF, "data:", *_CDN],
        "font-src": [SELF, *_CDN],
        "connect-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "admin:login"

# --- mail: alerts, where ALERT_EMAILS names somebody ------------------------------------------
EMAIL_HOST = env.text("EMAIL_HOST", "localhost")
EMAIL_PORT = env.number("EMAIL_PORT", 25, minimum=1)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS")
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "protipp@localhost")

# --- logging: one line an event, on stderr, where the stack and containers collect it ------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.text("LOG_LEVEL", "INFO")},
    "loggers": {
        "httpx": {"level": "WARNING"},
        # Two lines a task, several tasks a second; what fails is still said.
        "celery.app.trace": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.worker.request": {"level": "WARNING"},
    },
}

# --- our own options: each section is a dataclass in that area's conf.py --------------------------
_SECTIONS: dict[str, dict[str, Any]] = {
    "CACHING": {"enabled": PERFORMANCE_LAYER},
    "QUERIES": {"capture": PERFORMANCE_LAYER},
    "BALANCING": {"proxy_cache": PERFORMANCE_LAYER},
    "MONITORING": {
        "enabled": PERFORMANCE_LAYER,
        "metrics_token": env.text("METRICS_TOKEN"),
        "alert_recipients": tuple(env.items("ALERT_EMAILS")),
    },
    "CDN": {
        "provider": env.text("CDN_PROVIDER"),
        "base_url": CDN_BASE_URL,
        "varnish_urls": tuple(env.items("CDN_VARNISH_URLS")),
        "varnish_name": env.text("CDN_VARNISH_NAME"),
        "distribution_id": env.text("CDN_DISTRIBUTION_ID"),
        "zone": env.text("CDN_ZONE"),
        "token": env.text("CDN_TOKEN"),
        "api_url": env.text("CDN_API_URL"),
        "bucket": env.text("STATIC_S3_BUCKET"),
        "s3_endpoint": env.text("STATIC_S3_ENDPOINT"),
    },
}
PERFORMANCE = env.sections("PERFORMANCE", _SECTIONS)
"""The variable PERFORMANCE is JSON of the same shape, and goes before what stands here."""
