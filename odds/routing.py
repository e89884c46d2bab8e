from django.urls import path

from odds.live import OddsConsumer

websocket_urlpatterns = [path("ws/odds/", OddsConsumer.as_asgi())]
