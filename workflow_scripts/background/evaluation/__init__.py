"""Metrics of log flat fields and optical densities, and what the figure shows."""
