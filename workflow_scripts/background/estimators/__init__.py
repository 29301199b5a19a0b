"""Modules of the estimators in estimators.yaml, each with a function `predict(job, tiles)`.

The stage predict imports only the module named by `--module`.
"""
