"""Runs of a trainer: folders, checkpoints, logs, transcripts, and several processes."""
