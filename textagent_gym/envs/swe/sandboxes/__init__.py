"""Sandboxes, which run a command so that the host comes to no harm; their protocol is in `base`."""
