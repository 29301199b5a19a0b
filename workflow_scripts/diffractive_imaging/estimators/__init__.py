"""One module an estimator; its function `predict` makes the predictions for the test file."""
