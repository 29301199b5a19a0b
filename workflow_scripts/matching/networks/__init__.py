"""Networks, their losses and training tasks, and how similarities become orientations."""
