"""What turns predictions into numbers people can trust: metrics, intervals, figures, the ledger."""
