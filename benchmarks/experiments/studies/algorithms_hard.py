"""Algorithms on a hard size of world; see `algorithms`."""

from __future__ import annotations

from benchmarks.experiments.studies.algorithms import compare_algorithms

EXPERIMENT = compare_algorithms("w4-o6-q8", num_games=100, num_iterations=30)
