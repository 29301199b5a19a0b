"""One module for each estimator, with a function `make(job)` that returns a `simulation.estimation.Estimator`."""
