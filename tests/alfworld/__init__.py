"""Tests of ALFWorld, generated and real."""
