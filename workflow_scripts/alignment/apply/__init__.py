"""Alignment of the particles that a user brings."""
