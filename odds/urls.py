"""The visitor's pages. The API is the project's: performance has a part in it."""

from __future__ import annotations

from django.urls import path, re_path

from odds import views

urlpatterns = [
    path("", views.board, name="board"),
    re_path(r"^events/(?P<key>[^/]{1,64})/$", views.event, name="event"),
    path("arbitrage/", views.arbitrage, name="arbitrage"),
]
