"""Segmented images to potentials by networks: encoding, models, losses, training."""
