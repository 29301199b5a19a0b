"""One module for each entry of estimators.yaml: `make(job, device)` returns an `aligner.Aligner` for each stage."""
