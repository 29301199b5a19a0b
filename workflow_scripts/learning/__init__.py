"""The one training loop of the study: devices, checkpoints, resume and distribution."""
