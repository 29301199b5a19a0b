"""Specimens, flat fields, counts, and the data sets made of them."""
