"""Settings of the Django apps in `_web_apps`."""

ROOT_URLCONF = "tests.process._web_apps"
SECRET_KEY = "test"
ALLOWED_HOSTS = ["*"]
LOGGING_CONFIG = None
