"""Metrics of log flat fields and optical densities, and example images for the figure."""
