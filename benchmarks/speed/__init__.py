"""Speed measurements: environments, vector environments and training."""
