"""Services of the host that all tiers share: processes, paths, disk usage and users."""
