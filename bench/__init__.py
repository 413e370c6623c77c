"""Measurements of Broadwing against the least a server could do."""
