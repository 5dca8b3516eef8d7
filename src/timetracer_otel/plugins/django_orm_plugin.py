"""The plugin of Django's ORM under the name that the public contract promises."""

from timetracer_otel.libraries.django_orm import disable_django_orm, enable_django_orm, plugin

__all__ = ["disable_django_orm", "enable_django_orm", "plugin"]
