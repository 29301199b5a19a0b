"""Specimens, the forward model of the experiment, and the data sets that are simulated with it."""
