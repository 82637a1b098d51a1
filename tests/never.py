"""A time that no test lasts."""

NEVER = 3600.0
"""Seconds."""
