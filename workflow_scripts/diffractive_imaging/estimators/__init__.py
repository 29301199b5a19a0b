"""One module an estimator; each answers the test data by its function `predict`."""
