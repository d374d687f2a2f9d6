r"""Evaluation on a fixed list of seeds, with intervals.

How to run:

    python -m baselines.evaluate --env-id textagent_gym:TextWorld-w2-o3-q4-Dense-v0 --env-kwargs '{"split": "test"}' \
        --model runs/latest/model --num-episodes 200
    python -m baselines.evaluate --env-id textagent_gym:ALFWorld-v0 --env-kwargs '{"split": "valid_seen"}' \
        --model runs/latest/model --eval-tasks all

With `--endpoint-model NAME --base-url http://localhost:8000/v1` instead of `--model`, the model of a running server plays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tyro
from numpy.typing import NDArray

from baselines.config.settings import EvalTasks, JsonObject, RolloutSettings, check_all_at_least, check_at_least
from baselines.endpoints.endpoint import Endpoint, EndpointSettings, Usage
from baselines.endpoints.rollout import play_episodes
from baselines.errors import ConfigError, one_line_errors
from baselines.models.policy import TINY, Policy, check_device, check_model_exists, silence_transformers
from baselines.runs.files import write_whole
from baselines.sampling.environments import EnvPool, Task, TextEnv, is_success, reset_env, step_env
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from baselines.sampling.task_lists import check_each_once, check_pool, held_out_tasks
from baselines.stats import Interval, mean_interval

Agent: TypeAlias = Callable[[str, Mapping[str, Any]], str]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results of one agent on a list of seeds.

    Attributes:
        seeds: (N,) the seeds, in order; two evaluations are paired if and only if these are equal.
        successes: (N,) True where the episode succeeded.
        returns: (N,) undiscounted return of each episode.
        lengths: (N,) steps of each episode.
        episodes: the episodes, with their tokens where a policy played, without where an endpoint did; else empty.
        usage: all that the endpoint has been asked for, where one played.
    """

    seeds: NDArray[np.int64]
    successes: NDArray[np.bool_]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    episodes: tuple[Episode, ...] = ()
    usage: Usage | None = None

    @property
    def success_rate(self) -> float:
        """Share of episodes that succeeded."""
        return float(self.successes.mean())

    @property
    def loop_rate(self) -> float:
        """Share of episodes that failed while repeating themselves (`Episode.loops`)."""
        return sum(episode.loops for episode in self.episodes) / max(1, len(self.episodes))

    def success_interval(self) -> Interval:
        """Return the 95 % interval of the success rate; see `success_interval`."""
        return success_interval(self.successes)


def evaluate_policy(
    policy: Policy, pool: EnvPool, seeds: Sequence[int | Task], settings: RolloutSettings, seed: int = 0
) -> Evaluation:
    """Play every seed once with a policy.

    Args:
        policy: samples the actions.
        pool: lends environments of its first kind.
        seeds: given to `env.reset`; or tasks, as `choose_tasks` returns them.
        settings: `temperature=0` plays greedily; `num_envs` episodes are played side by side.
        seed: of the sampling, where the temperature is not 0.

    Raises:
        ConfigError: the environment has a finite list of tasks, and the seeds would play one of them twice.
    """
    tasks = _tasks(seeds)
    check_pool(pool, tasks)
    return summarise(rollout(policy, pool, tasks, settings, (seed,)))


def evaluate_endpoint(
    endpoint: Endpoint, pool: EnvPool, seeds: Sequence[int | Task], settings: RolloutSettings, seed: int = 0
) -> Evaluation:
    """Play every seed once with the model of an endpoint; otherwise as `evaluate_policy`.

    Raises:
        ConfigError: as of `evaluate_policy`.
        EndpointError: the endpoint does not reply.
    """
    tasks = _tasks(seeds)
    check_pool(pool, tasks)
    episodes = play_episodes(endpoint, pool, tasks, settings, seed)
    return replace(summarise(episodes), usage=endpoint.usage)


def evaluate_agent(agent: Agent, env: TextEnv, seeds: Sequence[int | Task]) -> Evaluation:
    """Play every seed once with `agent(observation, info) -> action`; the environment must end its episodes.

    Raises:
        ConfigError: as of `evaluate_policy`.
    """
    tasks = _tasks(seeds)
    check_each_once(env, tasks)
    return _evaluation([(task.seed, *_play(agent, env, task)) for task in tasks])


def summarise(episodes: Sequence[Episode]) -> Evaluation:
    """Return the results of played episodes, in their order."""
    played = [(episode.seed, episode.success, episode.episode_return, len(episode.turns)) for episode in episodes]
    return replace(_evaluation(played), episodes=tuple(episodes))


def _evaluation(played: Sequence[tuple[int, bool, float, int]]) -> Evaluation:
    """Return the results of episodes of these seeds, successes, returns and lengths."""
    seeds, successes, returns, lengths = zip(*played, strict=True) if played else ((), (), (), ())
    return Evaluation(
        seeds=np.array(seeds, dtype=np.int64),
        successes=np.array(successes, dtype=np.bool_),
        returns=np.array(returns, dtype=np.float64),
        lengths=np.array(lengths, dtype=np.int64),
    )


def success_interval(successes: NDArray[np.bool_]) -> Interval:
    """Return the 95 % bootstrap interval of the success rate of N episodes; the exact one where all agree."""
    if len(successes) == 0:
        return (0.0, 1.0)
    return mean_interval(successes.astype(np.float64), bounds=(0.0, 1.0))


def paired_difference_interval(first: Evaluation, second: Evaluation) -> Interval:
    """Return the 95 % bootstrap interval of `first.success_rate - second.success_rate`, resampling seeds of both.

    Raises:
        ValueError: the two were not played on the same seeds.
    """
    if not np.array_equal(first.seeds, second.seeds):
        raise ValueError("expected two evaluations on the same seeds in the same order, got different ones")
    return mean_interval(first.successes.astype(np.float64) - second.successes, bounds=(-1.0, 1.0))


def _tasks(seeds: Sequence[int | Task]) -> list[Task]:
    return [seed if isinstance(seed, Task) else Task(seed) for seed in seeds]


def _play(agent: Agent, env: TextEnv, task: Task) -> tuple[bool, float, int]:
    observation, info = reset_env(env, task.seed, task.task_id)
    episode_return, length = 0.0, 0
    while True:
        observation, reward, terminated, truncated, info = step_env(env, agent(observation, info))
        episode_return += reward
        length += 1
        if terminated or truncated:
            return is_success(info, terminated, episode_return), episode_return, length


@dataclass(frozen=True)
class Config:
    """Options of an evaluation."""

    env_id: str
    """Environment; `package:Id-v0` imports the package first."""
    model: str = ""
    """Folder or hub name of the policy."""
    endpoint_model: str = ""
    """Instead of `model`: name of a model at an endpoint for chat completions, with the key in OPENAI_API_KEY."""
    env_kwargs: JsonObject = field(default_factory=dict)
    """Constructor options of the environment."""
    num_episodes: int = 100
    """Episodes, one per seed."""
    eval_tasks: EvalTasks | None = None
    """In place of `num_episodes`, for an environment with a finite list of tasks: all of them, or this many, once each."""
    first_seed: int = 1_000_000
    """The seeds are the `num_episodes` numbers from here on."""
    seed: int = 0
    """Seed of the sampling, where the temperature is not 0."""
    device: str = "cpu"
    """Torch device of the model."""
    sampled: bool = True
    """If play is greedy (`--temperature 0`, the default), also play every seed at temperature 1."""
    transcripts: Path | None = None
    """Write every episode of the first play to this file as readable text."""
    rollout: RolloutSettings = field(default_factory=lambda: RolloutSettings(temperature=0.0))
    """Sampling of the actions."""
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    """Address, requests and prices of the endpoint."""

    def check(self) -> None:
        """Raise `ConfigError` for values outside their range."""
        if bool(self.model) == bool(self.endpoint_model):
            raise ConfigError(
                f"expected either model or endpoint_model, got {self.model!r} and {self.endpoint_model!r}"
            )
        if self.endpoint_model and self.rollout.chat_template is not None:
            raise ConfigError("expected no chat_template with endpoint_model, whose server has its own, got one")
        if self.model == TINY:
            raise ConfigError(
                "expected the folder or hub name of a trained model, got tiny, which a trainer makes: give the folder "
                "model of its run"
            )
        if self.transcripts is not None and self.transcripts.is_dir():
            raise ConfigError(f"expected --transcripts to be a file, got the folder {self.transcripts}")
        check_at_least("num_episodes", self.num_episodes, 1)
        check_all_at_least(self, 0, "first_seed", "seed")
        self.rollout.check(training=False)
        self.rollout.check_device(self.device)
        self.endpoint.check()


def evaluate(config: Config) -> Evaluation:
    """Play the configured seeds with a policy that it loads, or through an endpoint."""
    return evaluate_at(config, [config.rollout.temperature])[0]


def evaluate_at(config: Config, temperatures: Sequence[float]) -> list[Evaluation]:
    """Play the configured seeds once at each temperature, with one policy or endpoint."""
    config.check()
    kinds, max_broken = [(config.env_id, config.env_kwargs)], config.rollout.max_broken_envs
    if config.endpoint_model:
        with Endpoint(config.endpoint_model, config.endpoint) as endpoint, EnvPool(kinds, max_broken) as pool:
            sampling = [replace(config.rollout, temperature=temperature) for temperature in temperatures]
            tasks = held_out_tasks(pool, config.eval_tasks, config.first_seed, config.num_episodes)
            return [evaluate_endpoint(endpoint, pool, tasks, settings, config.seed) for settings in sampling]
    check_model_exists(config.model)
    check_device(config.device)
    with EnvPool(kinds, max_broken) as pool:
        tasks = held_out_tasks(pool, config.eval_tasks, config.first_seed, config.num_episodes)
        policy = Policy.load(config.model, device=config.device, chat_template=config.rollout.chat_template)
        limit = policy.max_context_tokens or config.rollout.max_context_tokens
        limits = replace(config.rollout, max_context_tokens=min(limit, config.rollout.max_context_tokens))
        sampling = [replace(limits, temperature=temperature) for temperature in temperatures]
        return [evaluate_policy(policy, pool, tasks, settings, config.seed) for settings in sampling]


def main() -> None:
    """Evaluate a policy from the command line and print its success rate and return with 95 % intervals."""
    silence_transformers()
    with one_line_errors():
        config = tyro.cli(Config, config=(tyro.conf.OmitArgPrefixes,), description=__doc__)
        first = config.rollout.temperature
        temperatures = [0.0, 1.0] if first == 0 and config.sampled and config.model else [first]
        results = evaluate_at(config, temperatures)
    for temperature, result in zip(temperatures, results, strict=True):
        if len(results) > 1:
            sys.stdout.write("greedy\n" if temperature == 0 else f"sampled at temperature {temperature:g}\n")
        sys.stdout.write(report(result))
    if config.transcripts is not None:
        text = "\n".join(episode.transcript() for episode in results[0].episodes)
        try:
            write_whole(config.transcripts, text)
        except OSError as error:
            raise SystemExit(f"error: expected --transcripts to be a file that can be written, got {error}") from error


def report(result: Evaluation) -> str:
    """Return success rate, return, steps and loops with 95 % intervals, and success of each type of task, as lines."""
    low, high = result.success_interval()
    rate = f"success rate {result.success_rate:.3f} [{low:.3f}, {high:.3f}] over {len(result.seeds)} episodes"
    low, high = mean_interval(result.returns)
    mean = f"return       {result.returns.mean():.3f} [{low:.3f}, {high:.3f}], {result.lengths.mean():.1f} steps"
    loops = f"loops        {result.loop_rate:.3f} of the episodes failed while they repeated themselves"
    usage = "" if result.usage is None else f"endpoint     {result.usage}\n"
    return f"{rate}\n{mean}\n{loops}\n{usage}{''.join(_report_types(result))}"


def _report_types(result: Evaluation) -> list[str]:
    """Return a line with the success rate of each type of task that the environment names."""
    types = np.array([episode.task_type or "" for episode in result.episodes])
    lines = []
    for name in sorted(set(types.tolist()) - {""}):
        successes = result.successes[types == name]
        low, high = success_interval(successes)
        lines.append(f"{name}  {successes.mean():.3f} [{low:.3f}, {high:.3f}] over {len(successes)} episodes\n")
    return lines


if __name__ == "__main__":
    main()
