"""One module for each estimator, with a function `predict(job, device)` that returns its predictions by condition."""
