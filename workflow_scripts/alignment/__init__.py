"""Noisy images of cryo-EM particles brought into one orientation without labels."""
