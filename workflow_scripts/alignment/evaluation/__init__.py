"""Errors of poses (`errors`), quality of class averages (`average_quality`), their rows of metrics.csv (`metrics`), and
the arrays of the figure (`examples`)."""
