"""Orientations of the user's patterns."""
