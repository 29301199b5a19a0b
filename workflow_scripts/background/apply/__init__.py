"""Correction of the user's tiles, from their files to a mosaic."""
