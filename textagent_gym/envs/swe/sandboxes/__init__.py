"""Sandboxes: what runs a command so that the host comes to no harm; the protocol is `textagent_gym.envs.swe.sandboxes.base`."""
