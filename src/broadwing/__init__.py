"""Broadwing: Phoenix Channels for Python."""
