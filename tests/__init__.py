"""Tests; each one says the law it proves."""
