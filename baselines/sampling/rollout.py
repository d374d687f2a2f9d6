"""Multi-turn rollouts: a pool of environments, one policy, tokens kept exactly as they were sampled.

Every episode draws from a separate random stream. Its samples depend on the run's seed and on its number
and on nothing else: not on other episodes, on when it started, or on the process that plays it (up to the
rounding of the model's arithmetic, which may differ in the last bits between batches).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.config.settings import RolloutSettings
from baselines.errors import ConfigError, EnvironmentContractError
from baselines.models.chat import ChatFormat, SaidAction, make_prompt
from baselines.models.policy import Policy
from baselines.sampling.decoding import HistoryDecoder, RaggedDecoder, make_decoder, sample_tokens
from baselines.sampling.environments import (
    EnvPool,
    ResetResult,
    StepResult,
    Task,
    TextEnv,
    is_success,
    reset_env,
    step_env,
)
from baselines.sampling.episode import Episode, Turn, card_detail, state_digest
from baselines.sampling.listed import ListedCommands, sample_listed
from baselines.sampling.vllm import Client, ServerDecoder

# Share of the places that must be free before waiting tasks take them: prompts are encoded in fewer, larger passes.
_MIN_REFILL = 0.125

R = TypeVar("R")


class _Action(NamedTuple):
    """Tokens sampled in one turn, with their log-probabilities.

    The model has read the first `num_fed` of them; `allowed` holds what each was chosen from, where that is not the
    whole vocabulary. Those in `forced`, by place, were put in to end a thought.
    """

    token_ids: list[int]
    logprobs: list[float]
    num_fed: int
    allowed: list[tuple[int, ...]] | None = None
    forced: range = range(0)


@dataclass
class _Row:
    """An episode while it is played.

    `prompt` are the tokens of the observation to be answered, which begin a sequence of their own where `fresh`. `unfed` are
    those at the end of `token_ids` that the model has not been fed yet: the last one of every action is sampled but never
    read while the action lasts. `listed` are the commands to choose from, where the decoding is over listed commands.
    """

    number: int
    task: Task
    env: TextEnv
    chat: ChatFormat
    rng: np.random.Generator
    settings: RolloutSettings
    task_id: str | None = None
    structure: str | None = None
    task_type: str | None = None
    observation: str = ""
    state: str = ""
    prompt: list[int] = field(default_factory=list)
    fresh: bool = False
    starts: list[int] = field(default_factory=lambda: [0])
    unfed: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    action_mask: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    allowed: list[tuple[int, ...]] = field(default_factory=list)
    listed: ListedCommands | None = None
    turns: list[Turn] = field(default_factory=list)
    success: bool = False
    terminated: bool = False
    truncated: bool = False
    truncated_by_context: bool = False

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated

    def fit(self) -> None:
        """Truncate the episode if the coming turn might not fit into the context."""
        longest = (
            self.settings.max_new_tokens + 1 if self.listed is None else self.listed.longest
        )  # 1: end of a cut turn
        needed = self.num_read + len(self.prompt) + longest
        if not self.done and needed > self.settings.max_context_tokens:
            self.truncated = self.truncated_by_context = True

    @property
    def num_read(self) -> int:
        """Tokens of the sequence that the prompt continues."""
        return 0 if self.fresh else len(self.token_ids) - self.starts[-1]

    def open(self, result: ResetResult) -> None:
        """Prepare the tokens of the first observation."""
        self.observation, info = result
        task_id = info.get("task_id")
        self.task_id = None if task_id is None else str(task_id)
        self.structure, self.task_type = card_detail(info, "structure"), card_detail(info, "task_type")
        self.state = state_digest(self.observation, info)
        self._ask()
        self._list(info)

    def act(self, action: _Action) -> str:
        """Record the tokens of a turn and return the text for the environment."""
        start = len(self.token_ids)
        if self.fresh:
            self.starts.append(start)
        self._append(self.prompt, [0.0] * len(self.prompt), sampled=False)
        action_start = len(self.token_ids)
        self._append(action.token_ids, action.logprobs, sampled=True)
        for place in action.forced:
            self.action_mask[action_start + place] = False
        end_token = self.chat.end_token_id
        self.unfed = action.token_ids[action.num_fed :]
        self.allowed += action.allowed or []
        cut = action.token_ids[-1:] != [end_token]
        if cut:
            self._append([end_token], [0.0], sampled=False)
            self.unfed.append(end_token)
        end = len(self.token_ids)
        turn = Turn(self.observation, "", 0.0, start, action_start, end, cut, state=self.state)
        self.turns.append(self._read(turn, action.token_ids))
        return self.turns[-1].action

    def _read(self, turn: Turn, token_ids: list[int]) -> Turn:
        """Return the turn with the text of its action."""
        if self.listed is not None:
            return replace(turn, action=self.listed.command(token_ids))
        thought, answer = self.chat.read_action(token_ids)
        if thought and self.settings.keep_thoughts == "all":
            self.chat.warn_of_thought(thought)
        cut_thought = turn.cut and self.chat.is_thinking(token_ids)
        return replace(turn, action=answer, thinks=bool(thought), cut_thought=cut_thought)

    def see(self, result: StepResult) -> None:
        """Record what the turn's step returned and prepare the tokens of the next observation."""
        self.observation, reward, self.terminated, self.truncated, info = result
        self.turns[-1] = replace(self.turns[-1], reward=reward, invalid=info.get("valid_command") is False)
        self.success = is_success(info, self.terminated, sum(turn.reward for turn in self.turns))
        self._ask()
        if not self.done:
            self.state = state_digest(self.observation, info)
            self._list(info)

    def episode(self, max_positions: int | None) -> Episode:
        """Return the record of the finished episode; `max_positions` are those of the model, None if it does not say."""
        fits = max_positions is None or self.num_read + len(self.prompt) <= max_positions
        final_prompt = self.prompt if self.turns and fits else []
        return Episode(
            seed=self.task.seed,
            task_id=self.task_id,
            token_ids=np.array(self.token_ids, dtype=np.int64),
            action_mask=np.array(self.action_mask, dtype=np.bool_),
            logprobs=np.array(self.logprobs, dtype=np.float32),
            turns=tuple(self.turns),
            success=self.success,
            terminated=self.terminated,
            truncated=self.truncated,
            truncated_by_context=self.truncated_by_context,
            final_observation=self.observation,
            final_prompt=np.array(final_prompt, dtype=np.int64),
            structure=self.structure,
            task_type=self.task_type,
            starts=tuple(self.starts),
            ends_fresh=self.fresh,
            allowed=tuple(self.allowed) if self.settings.decode == "listed" else None,
        )

    def _ask(self) -> None:
        """Prepare the tokens that put the observation to the policy; none where the episode has terminated."""
        if self.terminated:
            self.prompt, self.fresh = [], False
            return
        actions = [
            SaidAction(self.token_ids[turn.action_start : turn.end], turn.action, turn.thinks) for turn in self.turns
        ]
        observations = [*(turn.observation for turn in self.turns), self.observation]
        read = self.token_ids[self.starts[-1] :]
        self.prompt, continues = make_prompt(self.chat, observations, actions, self.settings, read)
        self.fresh = bool(self.turns) and not continues

    def _list(self, info: Mapping[str, Any]) -> None:
        """Read the commands to choose from, where the decoding is over listed commands."""
        if self.settings.decode == "free":
            return
        commands = info.get("admissible_commands")
        if not commands or isinstance(commands, str) or not all(isinstance(command, str) for command in commands):
            raise EnvironmentContractError(
                "expected info['admissible_commands'] to name at least one command, as strings, for decode=listed, "
                f"got {commands!r:.80} after {len(self.turns)} steps of seed {self.task.seed}"
            )
        self.listed = ListedCommands(self.chat, list(commands))

    def _append(self, token_ids: Sequence[int], logprobs: Sequence[float], sampled: bool) -> None:
        self.token_ids.extend(token_ids)
        self.logprobs.extend(logprobs)
        self.action_mask.extend([sampled] * len(token_ids))


def rollout(
    policy: Policy,
    pool: EnvPool,
    tasks: Sequence[Task],
    settings: RolloutSettings,
    seed: Sequence[int],
    use_cache: bool = True,
    first: int = 0,
    server: Client | None = None,
) -> list[Episode]:
    """Play one episode per task, `settings.num_envs` of them side by side; as some end, the next take their places.

    Several processes may play slices of one batch, each with the number of its first task: together their episodes are
    those of one process that plays them all.

    Args:
        policy: samples the actions.
        pool: lends the environments. One that raises is replaced, and its episode played again from the start of its
            random stream.
        tasks: tasks to play; a repeated task makes a group (equal prompts are encoded once).
        settings: temperature and limits; `env_workers` threads reset and step the environments of a turn.
        seed: numbers >= 0, such as the run's seed and the iteration; the generator of episode i is seeded with
            `[*seed, first + i]`.
        use_cache: False encodes the whole history again for every token (slow; for tests and as a yardstick).
        first: number of the first task in the whole batch.
        server: a vLLM server that has the policy's weights and samples the actions, in free text. Its draws are its own, so
            that episodes depend on how they are played side by side.

    Returns:
        Episodes in the order of `tasks`.

    Raises:
        ConfigError: the settings are out of range, or a task is of a kind that the pool does not have.
        EnvironmentContractError: an observation is not a string.
        TrainingError: more environments have raised than the pool may replace.
    """
    settings.check(training=False)
    needed = settings.max_think_tokens + len(policy.chat.closing_ids) + 1
    if settings.max_think_tokens and settings.max_new_tokens < needed:
        raise ConfigError(
            f"expected max_new_tokens >= {needed}, room for a thought, its end and an answer, got {settings.max_new_tokens}"
        )
    decoder: RaggedDecoder | HistoryDecoder
    if server is None:
        decoder = make_decoder(policy.model, policy.pad_token_id, use_cache, settings.cuda_graphs)
    else:
        settings.check_served()
        decoder = ServerDecoder(server)
    workers = settings.env_workers
    table = _Table(policy, pool, settings, decoder, (*seed,), deque(enumerate(tasks, start=first)))
    try:
        with torch.inference_mode(), ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as executor:
            table.executor = executor
            table.play()
    finally:
        table.leave()
    return [table.episodes[number] for number in range(first, first + len(tasks))]


@dataclass
class _Table:
    """The tasks that wait, the episodes that are played side by side, and those that are done."""

    policy: Policy
    pool: EnvPool
    settings: RolloutSettings
    decoder: RaggedDecoder | HistoryDecoder
    seed: tuple[int, ...]
    waiting: deque[tuple[int, Task]]
    executor: ThreadPoolExecutor | None = None
    live: list[_Row] = field(default_factory=list)
    renewed: list[_Row] = field(default_factory=list)  # go on with a sequence of their own
    episodes: dict[int, Episode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._places = min(self.settings.num_envs, len(self.waiting))
        self._leased: dict[int, _Row] = {}

    def play(self) -> None:
        """Play all tasks, turn by turn."""
        logits = self._refill()
        while logits is not None:
            self._step(self._sample(logits))
            logits = self._next_logits()

    def leave(self) -> None:
        """Give back the environments of episodes that were not played to their end."""
        for row in self._leased.values():
            self.pool.give_back(row.env, row.task.kind)
        self._leased = {}

    def _sample(self, logits: torch.Tensor) -> list[_Action]:
        """Sample one action per row from the (B, V) logits of its first token."""
        temperature = self.settings.temperature
        if isinstance(self.decoder, ServerDecoder):
            options = {"max_tokens": self.settings.max_new_tokens, "end_token_id": self.policy.chat.end_token_id}
            sampled = self.decoder.sample(temperature=temperature, rng=self.live[0].rng, **options)
            return [_Action(token_ids, logprobs, num_fed=0) for token_ids, logprobs in sampled]
        if self.settings.decode == "listed":
            listed = [row.listed for row in self.live if row.listed is not None]
            paths = sample_listed(self.decoder, logits, listed, temperature, [row.rng for row in self.live])
            return [_Action(path.token_ids, path.logprobs, path.num_fed, path.allowed) for path in paths]
        uniforms = np.stack([row.rng.random(self.settings.max_new_tokens) for row in self.live])
        limit, chat = self.settings.max_think_tokens, self.policy.chat
        thoughts = _Thoughts(chat, limit, len(self.live)) if limit else None
        return _sample_actions(self.decoder, logits, chat.end_token_id, temperature, uniforms, thoughts)

    def _step(self, actions: list[_Action]) -> None:
        """Play one action per row, and keep the rows that go on."""
        texts = [row.act(action) for row, action in zip(self.live, actions, strict=True)]
        results = self._each([partial(step_env, row.env, text) for row, text in zip(self.live, texts, strict=True)])
        for row, result in zip(self.live, results, strict=True):
            if isinstance(result, Exception):
                self._restart(row, f"step {len(row.turns)}", result)
            else:
                row.see(result)
                self._settle(row)
        going = [row.number in self._leased for row in self.live]
        self.renewed = [row for row, stays in zip(self.live, going, strict=True) if stays and row.fresh]
        kept = _stable_order([stays and not row.fresh for row, stays in zip(self.live, going, strict=True)])
        self.live = [self.live[place] for place in kept]
        self.decoder.keep(kept)

    def _next_logits(self) -> torch.Tensor | None:
        """Return (B, V) logits of the coming turn, of the rows that go on and those that join; None if there are none."""
        parts = [self.decoder.feed([row.unfed + row.prompt for row in self.live])] if self.live else []
        free = self._places - len(self.live) - len(self.renewed)
        playing = bool(self.live or self.renewed)
        opening = not playing or free >= max(1, min(len(self.waiting), round(_MIN_REFILL * self._places)))
        joined = self._refill(opening)
        parts += [] if joined is None else [joined]
        return torch.cat(parts) if parts else None

    def _refill(self, opening: bool = True) -> torch.Tensor | None:
        """Take in rows with a sequence of their own and, if `opening`, waiting tasks until all places are taken.

        Returns:
            (N, V) logits of the new rows, None if there are none.
        """
        first = len(self.live)
        self.live, self.renewed = self.live + self.renewed, []
        while opening and self.waiting and len(self.live) < self._places:
            self._open(min(len(self.waiting), self._places - len(self.live)))
        prompts = [row.prompt for row in self.live[first:]]
        return self.decoder.admit(prompts) if prompts else None

    def _open(self, count: int) -> None:
        """Reset an environment for each of the next `count` tasks; those whose first turn fits become rows."""
        rows = [self._lease(*self.waiting.popleft()) for _ in range(count)]
        for row, result in zip(
            rows, self._each([partial(reset_env, r.env, r.task.seed, r.task.task_id) for r in rows]), strict=True
        ):
            if isinstance(result, Exception):
                self._restart(row, "reset", result)
            else:
                row.open(result)
                self.policy.check_reads(row.observation, len(row.prompt))
                self._settle(row)
        self.live += [row for row in rows if row.number in self._leased]

    def _lease(self, number: int, task: Task) -> _Row:
        env, rng = self.pool.lease(task.kind), np.random.default_rng([*self.seed, number])
        row = self._leased[number] = _Row(number, task, env, self.policy.chat, rng, self.settings)
        return row

    def _settle(self, row: _Row) -> None:
        """Record the episode if it is done."""
        row.fit()
        if row.done:
            del self._leased[row.number]
            self.pool.give_back(row.env, row.task.kind)
            self.episodes[row.number] = row.episode(self.policy.max_context_tokens)

    def _restart(self, row: _Row, where: str, error: Exception) -> None:
        """Send the task back to wait, and its broken environment away."""
        del self._leased[row.number]
        self.waiting.appendleft((row.number, row.task))
        self.pool.discard(row.env, row.task, where, error)

    def _each(self, calls: Sequence[Callable[[], R]]) -> list[R | Exception]:
        """Return results in order; what an environment raised takes the place of its result."""
        if self.executor is None:
            return [_attempt(call) for call in calls]
        return list(self.executor.map(_attempt, calls))


def _attempt(call: Callable[[], R]) -> R | Exception:
    try:
        return call()
    except (ConfigError, EnvironmentContractError):  # no other environment of the kind would do better
        raise
    except Exception as error:  # third-party code may raise anything
        return error


def _stable_order(goes_on: Sequence[bool]) -> list[int]:
    """Return places of the rows that go on: the last ones fill the gaps, so that the others need not move."""
    kept = [place for place, stays in enumerate(goes_on) if stays]
    order = list(range(len(kept)))
    last = len(kept)
    for place in range(len(kept)):
        if not goes_on[place]:
            last -= 1
            order[place] = kept[last]
    return order


class _Thoughts:
    """Ends the thoughts of a turn's actions after so many tokens, by putting in what ends a thought.

    Args:
        chat: says what a thought is.
        limit: tokens of a thought at most.
        num_rows: number of actions.

    Attributes:
        forced: of each row the places of the tokens that were put in.
    """

    def __init__(self, chat: ChatFormat, limit: int, num_rows: int) -> None:
        self._chat, self._limit = chat, limit
        self._closing = chat.closing_ids
        self.forced = [range(0)] * num_rows

    def force(self, token_ids: torch.Tensor, logprobs: torch.Tensor, before: Sequence[torch.Tensor]) -> None:
        """Overwrite tokens and log-probabilities (B,) of one step where an end is put in; `before` are earlier steps."""
        place = len(before)
        if place == self._limit:
            for row, said in enumerate(torch.stack(list(before), 1).tolist()):
                if self._chat.end_token_id not in said and self._chat.is_thinking(said):
                    self.forced[row] = range(place, place + len(self._closing))
        for row, places in enumerate(self.forced):
            if place in places:
                token_ids[row], logprobs[row] = self._closing[place - places.start], 0.0


def _sample_actions(
    decoder: RaggedDecoder | HistoryDecoder,
    logits: torch.Tensor,
    end_token_id: int,
    temperature: float,
    uniforms: NDArray[np.float64],
    thoughts: _Thoughts | None = None,
) -> list[_Action]:
    """Sample one action per row, all rows in step; rows that have ended their turn wait, masked.

    An action's last token is not fed here: it goes in with the next observation, or never.

    Args:
        decoder: holds the rows.
        logits: (B, V) scores of the first token.
        end_token_id: ends an action.
        temperature: see `sample_tokens`.
        uniforms: (B, max_new_tokens) one for each token that may be sampled.
        thoughts: ends thoughts that become too long.
    """
    columns = torch.from_numpy(uniforms).to(logits.device)
    active = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    token_steps: list[torch.Tensor] = []  # (B,) each
    logprob_steps: list[torch.Tensor] = []
    while True:
        token_ids, logprobs = sample_tokens(logits, temperature, columns[:, len(token_steps)])
        if thoughts is not None:
            thoughts.force(token_ids, logprobs, token_steps)
        token_steps.append(token_ids)
        logprob_steps.append(logprobs)
        active = active & (token_ids != end_token_id)
        if len(token_steps) == columns.shape[1] or not bool(active.any()):
            break
        logits = decoder.feed_tokens(token_ids, active)
    # Read once a turn: every reading waits for the device.
    rows = zip(torch.stack(token_steps, 1).tolist(), torch.stack(logprob_steps, 1).tolist(), strict=True)
    actions = [_until_end(*row, end_token_id) for row in rows]
    if thoughts is None:
        return actions
    return [action._replace(forced=places) for action, places in zip(actions, thoughts.forced, strict=True)]


def _until_end(token_ids: list[int], logprobs: list[float], end_token_id: int) -> _Action:
    length = token_ids.index(end_token_id) + 1 if end_token_id in token_ids else len(token_ids)
    return _Action(token_ids[:length], logprobs[:length], length - 1)
