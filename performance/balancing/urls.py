from django.urls import path

from performance.balancing import health, scaling_metric

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("scaling/<slug:kind>", scaling_metric.scaling_metric, name="scaling-metric"),
    path("readyz", health.readyz, name="readyz"),
]
