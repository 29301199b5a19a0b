"""Training, shared by all methods: the loop, devices, checkpoints, resuming and several processes."""
