"""Where the pages stand."""

from __future__ import annotations

from django.urls import path

from tests.django_shop import views

urlpatterns = [
    path("items", views.items),
    path("items/<str:name>", views.page),
    path("items/<str:name>/order", views.order),
    path("counted", views.counted),
    path("raw", views.raw),
    path("stream", views.stream),
    path("broken", views.broken),
]
