"""Several agents in one text world, as PettingZoo environments: each module has `env(**knobs)` and `parallel_env(...)`."""
