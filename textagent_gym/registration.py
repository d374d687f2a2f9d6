"""Every environment id, from literal tables: a tier is only a name for numbers, and the numbers stand here.

Grammar: `{Domain}-{Tier}-{Density}-v{N}`. Settings of the literature have ids that are named as the literature names them.
What is off the grid is `gym.make(id, solution_length=12)`, never a new id.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

DENSITIES: dict[str, float] = {"Sparse": 0.0, "Balanced": 0.5, "Dense": 1.0}

TEXTWORLD = "textagent_gym.envs.textworld.env:TextWorldEnv"

TEXTWORLD_TIERS: dict[str, dict[str, Any]] = {
    "Easy": {"state_space_size": 3, "action_space_size": 4, "solution_length": 4, "instructions": "steps"},
    "Medium": {"state_space_size": 6, "action_space_size": 8, "solution_length": 8, "instructions": "steps"},
    "Hard": {"state_space_size": 9, "action_space_size": 16, "solution_length": 16, "instructions": "goal"},
    "Extreme": {"state_space_size": 12, "action_space_size": 24, "solution_length": 30, "instructions": "goal"},
}

ALFWORLD = "textagent_gym.envs.alfworld.env:ALFWorldEnv"

ALFWORLD_TIERS: dict[str, dict[str, Any]] = {
    "Easy": {"state_space_size": 6, "action_space_size": 6, "solution_length": 4},
    "Medium": {"state_space_size": 12, "action_space_size": 18, "solution_length": 8},
    "Hard": {"state_space_size": 18, "action_space_size": 30, "solution_length": 16},
    "Extreme": {"state_space_size": 24, "action_space_size": 40, "solution_length": 30},
}

SWEGYM = "textagent_gym.envs.swe.env:SWEGymEnv"

SWEGYM_TIERS: dict[str, dict[str, Any]] = {
    "Easy": {"origin": "bundled", "state_space_size": 4, "action_space_size": 6, "solution_length": 2, "hint_level": 3},
    "Medium": {"min_state_space_size": 5, "max_state_space_size": 9, "action_space_size": 7, "solution_length": 3,
               "hint_level": 2},
    "Hard": {"min_state_space_size": 10, "max_state_space_size": 16, "action_space_size": 8, "solution_length": 4,
             "hint_level": 1},
    "Extreme": {"min_state_space_size": 20, "action_space_size": 9, "solution_length": 6, "hint_level": 0},
}  # fmt: skip

TEXTWORLD_LITERATURE: dict[str, dict[str, Any]] = {
    f"w{w}-o{o}-q{q}": {"state_space_size": w, "action_space_size": o, "solution_length": q, "exact": False}
    for w, o, q in ((2, 3, 4), (8, 3, 4), (2, 12, 4), (8, 12, 4), (4, 6, 8))
}


VECTOR_MAKERS: dict[str, str] = {
    TEXTWORLD: "textagent_gym.vector:make_textworld_vector",
    ALFWORLD: "textagent_gym.vector:make_alfworld_vector",
    SWEGYM: "textagent_gym.vector:make_swegym_vector",
}
"""Entry point of a domain -> that of its vector environments."""


def environment_specs() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return id -> (entry point, constructor arguments) of every environment, in the order in which they are listed."""
    specs: dict[str, tuple[str, dict[str, Any]]] = {}
    for tier, knobs in TEXTWORLD_TIERS.items():
        for density, share in DENSITIES.items():
            specs[f"TextWorld-{tier}-{density}-v0"] = TEXTWORLD, {**knobs, "reward_density": share}
    for name, knobs in TEXTWORLD_LITERATURE.items():
        for density in ("Sparse", "Dense"):
            specs[f"TextWorld-{name}-{density}-v0"] = TEXTWORLD, {**knobs, "reward_density": DENSITIES[density]}
    for density in DENSITIES:
        specs[f"TextWorld-Simple-{density}-v0"] = TEXTWORLD, {"challenge": "simple", "rewards": density.lower()}
    for tier, knobs in ALFWORLD_TIERS.items():
        for density, share in DENSITIES.items():
            specs[f"ALFWorld-{tier}-{density}-v0"] = ALFWORLD, {**knobs, "reward_density": share}
    for tier, knobs in SWEGYM_TIERS.items():
        for density, share in DENSITIES.items():
            specs[f"SWEGym-{tier}-{density}-v0"] = SWEGYM, {**knobs, "reward_density": share}
    return specs


def file_specs() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return id -> (entry point, constructor arguments) of the environments whose tasks are not drawn but given.

    They come from files (`game=PATH`, `ALFWORLD_DATA`, `tasks=PATH`), or from releases of real projects.
    """
    return {
        "TextWorld-Custom-v0": (TEXTWORLD, {"challenge": "file"}),
        "ALFWorld-v0": (ALFWORLD, {"games": "real"}),
        "SWEGym-Release-v0": (SWEGYM, {"origin": "release"}),
        "SWEGym-Custom-v0": (SWEGYM, {"origin": "dataset"}),
    }


def register_all() -> None:
    """Register every environment with Gymnasium; importing the package does so."""
    for env_id, (entry_point, kwargs) in {**environment_specs(), **file_specs()}.items():
        gym.register(env_id, entry_point=entry_point, vector_entry_point=VECTOR_MAKERS[entry_point], kwargs=kwargs)
