"""Pretraining: step, loop and checkpoints in torch; workers and clusters in Ray."""
