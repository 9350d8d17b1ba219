"""The command line: the only place that joins tuning and tracking."""
