"""Metrics of predictions: one file a metric, found by its name."""
