"""Sampling of episodes: environments, decoding, rollouts and demonstrations."""
