"""Predictions against the truth: metrics, and examples for the figures."""
