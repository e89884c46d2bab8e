from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("performance.balancing.urls")),
    path("", include("performance.monitoring.urls")),
    path("", include("odds.urls")),
]

handler400 = "odds.views.bad_request"
handler404 = "odds.views.not_found"
handler500 = "odds.views.server_error"
