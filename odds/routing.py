from typing import Any, cast

from django.urls import path

from odds.live import odds_socket

websocket_urlpatterns = [path("ws/odds/", cast(Any, odds_socket))]  # Channels' router calls it
