"""Alignment of the user's particles."""
