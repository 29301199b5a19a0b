"""Predictions against the truth: metrics, tables, and the field of view that images need."""
