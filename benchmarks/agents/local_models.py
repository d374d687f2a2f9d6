"""Local models: a Hugging Face causal LM plays many episodes of a cell side by side."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from baselines.config.settings import Decode, RolloutSettings, check_at_least, read_chat_template
from baselines.errors import ConfigError
from baselines.models.policy import Policy, check_model_exists, silence_transformers
from baselines.runs.transcripts import make_transcript
from baselines.sampling.environments import EnvPool
from baselines.sampling.episode import Episode
from baselines.sampling.rollout import rollout
from benchmarks.agents.agents import AgentSpec
from benchmarks.runs.play import TaskCheck
from benchmarks.runs.records import EpisodeKey, EpisodeRecord, RunConfig, Usage


@dataclass(frozen=True)
class LocalSettings:
    """Settings of the sampling from a local model."""

    temperature: float = 0.0
    """0 plays greedily."""
    max_new_tokens: int = 64
    """Tokens of one action at most."""
    max_context_tokens: int = 4096
    """Tokens of a prompt with its action at most; one with fewer positions ends earlier. Counted as out of context."""
    context: str = "full"
    """Content of a prompt in tracks that grant memory: full, window:K or turn; in the others it is turn."""
    batch_size: int = 16
    """Episodes side by side."""
    device: str = "cpu"
    """Torch device."""
    dtype: str = "float32"
    """float32 or bfloat16."""
    chat_template: str | None = None
    """Jinja template in place of the tokenizer's own; in `--agent-kwargs` also the name of a file that holds one."""
    decode: Decode = "free"
    """free, or listed: only listed commands can be written, in tracks that grant the list."""

    def rollout(self, positions: int | None = None, memory: bool = True) -> RolloutSettings:
        """Return the same for `baselines.sampling.rollout`, for a model's positions, in a track with or without memory."""
        limit = min(self.max_context_tokens, positions or self.max_context_tokens)
        return RolloutSettings(
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            max_context_tokens=limit,
            context=self.context if memory else "turn",
            num_envs=self.batch_size,
            decode=self.decode,
            max_broken_envs=0,
        )


def local_settings(given: dict[str, Any]) -> LocalSettings:
    """Read `--agent-kwargs`.

    Raises:
        ConfigError: a name is unknown, or a value out of its range.
    """
    try:
        settings = LocalSettings(**given)
        check_at_least("batch_size", settings.batch_size, 1)
        settings.rollout().check(training=False)
    except TypeError as error:
        raise ConfigError(f"expected settings of LocalSettings for an agent hf:..., got {given}: {error}") from error
    return settings


def read_template(given: dict[str, Any]) -> dict[str, Any]:
    """Return `--agent-kwargs` with the text of a chat template in place of the name of its file, as it is recorded.

    Raises:
        ConfigError: the file cannot be read, or is no Jinja template.
    """
    name = given.get("chat_template")
    if not isinstance(name, str) or "{{" in name or "{%" in name:
        return given
    return {**given, "chat_template": read_chat_template(Path(name))}


def check_models(spec: AgentSpec, num_runs: int) -> dict[str, str]:
    """Run -> digest of the weights of its model, for the record; "" for a name on a hub.

    Raises:
        ConfigError: a folder that is named does not hold a model.
    """
    digests = {}
    for run in range(num_runs):
        name = model_name(spec, run)
        check_model_exists(name)
        digests[str(run)] = weights_digest(Path(name))
    return digests


def model_name(spec: AgentSpec, run: int) -> str:
    """Return the model of a run, counted from 1 where the name asks for it."""
    return spec.target.replace("{run}", str(run + 1))


def weights_digest(folder: Path) -> str:
    """Return sha256 over the weights in a folder, by name; "" where there is no folder."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest() if files else ""


def play_batches(config: RunConfig, spec: AgentSpec, keys: Sequence[EpisodeKey]) -> Iterator[list[EpisodeRecord]]:
    """Play the episodes, a batch of one cell at a time.

    What is sampled in an episode depends on its run, cell and task alone, not on the batch that it is in.

    Raises:
        SuiteError: the environment has changed since the suite was published.
    """
    suite, track = config.found_suite(), config.found_track()
    silence_transformers()
    settings = local_settings(config.agent_settings)
    tasks = TaskCheck()
    for run, of_run in groupby(keys, key=lambda key: key[0]):
        policy = Policy.load(model_name(spec, run), settings.dtype, settings.device, settings.chat_template)
        for number, of_cell in groupby(of_run, key=lambda key: key[1]):
            cell = suite.cells[number]
            options = {**cell.options, **config.presentation.options(cell, track)}
            with EnvPool([(cell.env_id, options)]) as pool:
                for batch in batches([key[2] for key in of_cell], settings.batch_size):
                    for task in batch:
                        tasks.check(cell, cell.tasks[task])
                    start = time.monotonic()
                    seeds = [cell.rollout_task(cell.tasks[task]) for task in batch]
                    sampling = settings.rollout(policy.max_context_tokens, track.memory)
                    episodes = rollout(policy, pool, seeds, sampling, (run, number), first=batch[0])
                    seconds = (time.monotonic() - start) / len(batch)
                    yield [
                        _played((run, number, task), episode, cell.env_id, seconds)
                        for task, episode in zip(batch, episodes, strict=True)
                    ]


def batches(numbers: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cut rising numbers into runs without gaps of at most `size`."""
    batch: list[int] = []
    for number in numbers:
        if batch and (number != batch[-1] + 1 or len(batch) == size):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _played(key: EpisodeKey, episode: Episode, env_id: str, seconds: float) -> EpisodeRecord:
    usage = Usage(
        prompt_tokens=episode.num_tokens - episode.num_action_tokens,
        completion_tokens=episode.num_action_tokens,
        empty_replies=sum(not turn.action.strip() for turn in episode.turns),
    )
    invalid = sum(turn.invalid for turn in episode.turns)
    return EpisodeRecord(key, make_transcript(episode, env_id), invalid, seconds, usage)
