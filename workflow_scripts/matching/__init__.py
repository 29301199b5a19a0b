"""Observed nanodiffraction patterns matched to calculated ones by contrastive retrieval."""
