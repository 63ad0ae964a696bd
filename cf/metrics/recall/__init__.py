"""Metrics of recall: whether a view that comes again shows what it showed before."""
