"""Simulation of specimens, flat fields and counts, and the files of training and test data."""
