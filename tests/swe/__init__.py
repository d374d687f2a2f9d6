"""Tests of the SWEGym domain."""
