"""What is kept."""

from django.db import models


class Note(models.Model):  # type: ignore[misc] # Django has no types
    """A line of text."""

    body = models.CharField(max_length=100)
