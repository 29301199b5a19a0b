"""One module for each estimator; the stage predict imports the one that `--module` names, and no other."""
