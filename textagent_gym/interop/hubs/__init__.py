"""Hubs: packages that publish an environment in those of OpenEnv and verifiers."""
