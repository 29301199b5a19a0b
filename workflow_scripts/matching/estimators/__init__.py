"""One module for each entry of estimators.yaml: `predict(job, queries, device)` returns `Predictions` by stage."""
