"""Datasets, their fixed splits, and the stream that pretraining sees."""
