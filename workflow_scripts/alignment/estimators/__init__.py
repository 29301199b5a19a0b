"""One module for each entry of estimators.yaml: `make(job, device)` returns an `answers.Aligner` for each stage."""
