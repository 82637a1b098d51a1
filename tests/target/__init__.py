"""Tests of the Port target."""
