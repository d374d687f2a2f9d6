"""Tests of the source itself: imports, language."""
