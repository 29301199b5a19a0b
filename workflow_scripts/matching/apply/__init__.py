"""Orientations of the user's own patterns."""
