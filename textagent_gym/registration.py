"""Domains: families of environments, each one folder and one record; ids are made from the record's literal tables.

Grammar: `{Domain}-{Tier}-{Density}-v{N}`. Settings of the literature have ids that are named as the literature names them.
What is off the grid is `gym.make(id, solution_length=12)`, never a new id. A domain of another package is registered by
`register(Domain(...))`; nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

DENSITIES: dict[str, float] = {"Sparse": 0.0, "Balanced": 0.5, "Dense": 1.0}


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A family of environments, described without importing it.

    Attributes:
        name: First part of its ids, for example "TextWorld".
        entry_point: "module:class" of its environment, a subclass of `TextAgentEnv`.
        tiers: Tier -> constructor arguments; each tier has an id for every density of `DENSITIES`.
        settings: Id -> constructor arguments of further ids, such as the literature's.
        given: Id -> constructor arguments of environments whose tasks are not drawn but given: by files, or by releases.
        instructions: Value that `textagent-gym list` shows for ids that do not set `instructions`.
        prepare: "module:function" behind `textagent-gym prepare`, called as
            `function(env_id, options, seeds, num_workers, out)`; it yields once for each task that is ready. Or None.
        makers: Name that `textagent-gym prepare --projects` takes in place of ids -> "module:function", called as
            `function(projects, out, count=..., split=..., workers=..., tell=...)`; it makes tasks of the projects that a
            requirements file names, tells of each project, work and share that is done, and returns a text in Markdown.
        references: Names that `textagent-gym bench --against` accepts.
        exports: Form -> "module:function" behind `textagent-gym export`, called as
            `function(env_id, options, out, count)`; it yields the name of each folder that is written.
        compare: "module:function" that measures against a reference, called as
            `function(env_id, reference=..., num_steps=..., num_tasks=..., env_kwargs=...)`; it returns a row. Or None.
    """

    name: str
    entry_point: str
    tiers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    settings: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    given: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    instructions: str = "goal"
    prepare: str | None = None
    makers: Mapping[str, str] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    compare: str | None = None

    @property
    def ids(self) -> dict[str, dict[str, Any]]:
        """Id -> constructor arguments of the environments whose tasks are drawn, in the order in which they are listed."""
        tiers = {
            f"{self.name}-{tier}-{density}-v0": {**knobs, "reward_density": share}
            for tier, knobs in self.tiers.items()
            for density, share in DENSITIES.items()
        }
        return {**tiers, **self.settings}

    @property
    def vector_maker(self) -> str:
        """Name in `textagent_gym.vector` of the function that makes its vector environments."""
        return f"make_{self.name.lower()}_vector"


EXPORTS = {
    "openenv": "textagent_gym.interop.hubs.openenv_package:export",
    "verifiers": "textagent_gym.interop.hubs.verifiers_package:export",
}
"""Forms of `textagent-gym export` that every domain has; see `Domain.exports`."""

DOMAINS: dict[str, Domain] = {}
"""Name -> registered domain, in the order in which they are listed."""


def register(domain: Domain) -> None:
    """Register a domain, and its ids with Gymnasium."""
    DOMAINS[domain.name] = domain
    for env_id, kwargs in {**domain.ids, **domain.given}.items():
        gym.register(
            env_id,
            entry_point=domain.entry_point,
            vector_entry_point=f"textagent_gym.vector:{domain.vector_maker}",
            kwargs=kwargs,
        )


def spec_of(env_id: str) -> EnvSpec:
    """Return the specification of an id, which may begin with a module to import ("module:id"), as `gym.make` takes it.

    Raises:
        gymnasium.error.UnregisteredEnv: No environment has that id.
    """
    module, _, name = env_id.rpartition(":")
    if module:
        import_module(module)
    return gym.spec(name)


def domain_of(env_id: str) -> Domain:
    """Return the domain of an id, which may begin with a module to import.

    Raises:
        gymnasium.error.UnregisteredEnv: No environment has that id.
        ValueError: It is the id of an environment of another package that registers no domain.
    """
    entry_point = spec_of(env_id).entry_point
    for domain in DOMAINS.values():
        if domain.entry_point == entry_point:
            return domain
    raise ValueError(f"expected an id of {', '.join(DOMAINS)}, got {env_id}")


def load(entry_point: str) -> Any:
    """Return what "module:name" stands for."""
    module, _, name = entry_point.partition(":")
    return getattr(import_module(module), name)


TEXTWORLD = Domain(
    name="TextWorld",
    entry_point="textagent_gym.envs.textworld.env:TextWorldEnv",
    tiers={
        "Easy": {"state_space_size": 3, "action_space_size": 4, "solution_length": 4, "instructions": "steps"},
        "Medium": {"state_space_size": 6, "action_space_size": 8, "solution_length": 8, "instructions": "steps"},
        "Hard": {"state_space_size": 9, "action_space_size": 16, "solution_length": 16, "instructions": "goal"},
        "Extreme": {"state_space_size": 12, "action_space_size": 24, "solution_length": 30, "instructions": "goal"},
    },
    settings={
        **{
            f"TextWorld-w{w}-o{o}-q{q}-{density}-v0": {
                "state_space_size": w,
                "action_space_size": o,
                "solution_length": q,
                "exact": False,
                "reward_density": DENSITIES[density],
            }
            for w, o, q in ((2, 3, 4), (8, 3, 4), (2, 12, 4), (8, 12, 4), (4, 6, 8))
            for density in ("Sparse", "Dense")
        },
        **{
            f"TextWorld-Simple-{density}-v0": {"challenge": "simple", "rewards": density.lower()}
            for density in DENSITIES
        },
    },
    given={"TextWorld-Custom-v0": {"challenge": "file"}},
    instructions="steps",
    prepare="textagent_gym.envs.textworld.generation.prepare:prepare",
    references=("inform7",),
    compare="textagent_gym.envs.textworld.reference:compare_with_interpreter",
)

ALFWORLD = Domain(
    name="ALFWorld",
    entry_point="textagent_gym.envs.alfworld.env:ALFWorldEnv",
    tiers={
        "Easy": {"state_space_size": 6, "action_space_size": 6, "solution_length": 4},
        "Medium": {"state_space_size": 12, "action_space_size": 18, "solution_length": 8},
        "Hard": {"state_space_size": 18, "action_space_size": 30, "solution_length": 16},
        "Extreme": {"state_space_size": 24, "action_space_size": 40, "solution_length": 30},
    },
    given={"ALFWorld-v0": {"games": "real"}},
    prepare="textagent_gym.envs.alfworld.generation.export:prepare",
    references=("alfworld",),
    compare="textagent_gym.envs.alfworld.reference:compare_with_alfworld",
)

# fmt: off
SWEGYM = Domain(
    name="SWEGym",
    entry_point="textagent_gym.envs.swe.env:SWEGymEnv",
    tiers={
    "Easy": {"origin": "bundled", "state_space_size": 4, "action_space_size": 6, "solution_length": 2, "hint_level": 3},
    "Medium": {"min_state_space_size": 5, "max_state_space_size": 9, "action_space_size": 7, "solution_length": 3,
               "hint_level": 2},
    "Hard": {"min_state_space_size": 10, "max_state_space_size": 16, "action_space_size": 8, "solution_length": 4,
             "hint_level": 1},
    "Extreme": {"min_state_space_size": 20, "action_space_size": 9, "solution_length": 6, "hint_level": 0},
},
    given={
        "SWEGym-Release-v0": {"origin": "release"},
        "SWEGym-Custom-v0": {"origin": "dataset"},
    },
    prepare="textagent_gym.envs.swe.synthesis.make_tasks:prepare",
    makers={"swe": "textagent_gym.envs.swe.synthesis.prepare_projects:prepare"},
    exports={"harbor": "textagent_gym.envs.swe.synthesis.export_harbor:export"},
    references=("subprocess", "swerex"),
    compare="textagent_gym.envs.swe.bench:measure_repairs",
)
# fmt: on


OWN_DOMAINS = (TEXTWORLD, ALFWORLD, SWEGYM)
"""The domains of this package."""


def environment_specs() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return id -> (entry point, constructor arguments) of this package's environments whose tasks are drawn, as listed."""
    return {env_id: (domain.entry_point, kwargs) for domain in OWN_DOMAINS for env_id, kwargs in domain.ids.items()}


def register_all() -> None:
    """Register the domains of this package; importing it does so."""
    for domain in OWN_DOMAINS:
        register(domain)
