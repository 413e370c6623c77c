"""As little as a Django project with a database can do with."""

import os
from pathlib import Path

SECRET_KEY = "for tests only"
INSTALLED_APPS = ["tests.testing.django_project"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A file: a database in memory is never closed by Django, so it could not be seen whether it would have been.
_FILE = Path(os.environ["DATABASE_DIRECTORY"]) / "test.sqlite3"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _FILE, "TEST": {"NAME": _FILE}}}
