from django.urls import path

from performance.monitoring import views

urlpatterns = [path("metrics", views.metrics, name="metrics")]
