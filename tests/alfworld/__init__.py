"""Tests of the ALFWorld domain."""
