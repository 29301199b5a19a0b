"""One module for each way to estimate the potential; the stage predict runs the one that `--module` names."""
