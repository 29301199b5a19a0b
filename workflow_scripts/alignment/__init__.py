"""Cryo-EM particle images aligned without labels: rotation, shift and class average."""
