"""Metrics of log flat fields (`metrics`), their rows of metrics.csv (`scores`), arrays of the figure (`examples`)."""
