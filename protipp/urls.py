from django.contrib import admin
from django.urls import include, path

from odds.api import urls as api_urls
from protipp.api import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("performance.balancing.urls")),
    path("", include("performance.monitoring.urls")),
    path("api/", api_urls(api)),
    path("", include("odds.urls")),
]

handler400 = "odds.views.bad_request"
handler404 = "odds.views.not_found"
handler500 = "odds.views.server_error"
