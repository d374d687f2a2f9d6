"""TextWorld: generated text adventures (arXiv 1806.11532)."""
