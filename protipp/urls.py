from django.contrib import admin
from django.urls import include, path

import protipp.api  # noqa: F401  mounts performance's part before the API hands out its URLs

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("performance.balancing.urls")),
    path("", include("performance.monitoring.urls")),
    path("", include("odds.urls")),
]

handler400 = "odds.views.bad_request"
handler404 = "odds.views.not_found"
handler500 = "odds.views.server_error"
