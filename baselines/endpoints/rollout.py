"""Episodes through an endpoint, for evaluation: an endpoint takes and returns text, so they hold no tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import TypeVar

import numpy as np

from baselines.config.settings import RolloutSettings
from baselines.endpoints.endpoint import Endpoint, Reply
from baselines.errors import ConfigError, ContextLengthError, EnvironmentContractError
from baselines.models.chat import Message, make_messages
from baselines.sampling.environments import EnvPool, Task, TextEnv, is_success, reset_env, step_env
from baselines.sampling.episode import Episode, Turn, card_detail, state_digest

R = TypeVar("R")


def play_episodes(
    endpoint: Endpoint, pool: EnvPool, tasks: Sequence[Task], settings: RolloutSettings, seed: int = 0
) -> list[Episode]:
    """Play one episode per task, `settings.num_envs` of them side by side, as `rollout` does with a policy.

    Each turn the endpoint reads the conversation, as far as `settings.context` shows it: observations as the user's
    messages, actions, without outer white space, as the assistant's. A turn whose prompt, as the endpoint counts it, leaves
    no room for the action in `max_context_tokens` truncates the episode, as does an endpoint that refuses it as too long.

    Args:
        endpoint: says the actions.
        pool: lends the environments. One that raises is replaced, and its episode played again.
        tasks: the tasks to play.
        settings: temperature and limits; at most `env_workers` environments are reset or stepped at the same time.
        seed: if the temperature is not 0, each turn sends a number drawn from it.

    Returns:
        Episodes in the order of `tasks`, without tokens: their arrays are empty, and so are the spans of their turns.

    Raises:
        ConfigError: the settings are out of range, or a task is of a kind that the pool does not have.
        EndpointError: the endpoint did not reply; all other episodes end with their present turn.
        EnvironmentContractError: an observation is not a string.
        TrainingError: more environments have raised than the pool may replace.
    """
    settings.check(training=False)
    table = _Table(endpoint, pool, settings, seed)
    with ThreadPoolExecutor(max(1, min(settings.num_envs, len(tasks)))) as executor:
        plays = [executor.submit(table.play, number, task) for number, task in enumerate(tasks)]
        try:
            finished, _ = wait(plays, return_when=FIRST_EXCEPTION)
            for play in finished:
                play.result()
        except BaseException as error:
            table.failure = error
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        return [play.result() for play in plays]


class _BrokenEnvError(Exception):
    """An environment raised its cause in the call `where`."""

    def __init__(self, where: str, error: Exception) -> None:
        super().__init__(where)
        self.where, self.error = where, error


@dataclass
class _Table:
    """State shared by episodes that are played side by side; a `failure` of one of them ends all."""

    endpoint: Endpoint
    pool: EnvPool
    settings: RolloutSettings
    seed: int
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._pool_lock = Lock()
        self._env_places = BoundedSemaphore(self.settings.env_workers)

    def play(self, number: int, task: Task) -> Episode:
        """Play a task to its end, again as often as its environment breaks."""
        while True:
            with self._pool_lock:
                env = self.pool.lease(task.kind)
            broken = None
            try:
                return self._episode(number, task, env)
            except _BrokenEnvError as error:
                broken = error
            except BaseException as error:
                self.failure = self.failure or error
                raise
            finally:
                with self._pool_lock:
                    if broken is None:
                        self.pool.give_back(env, task.kind)
                    else:
                        self.pool.discard(env, task, broken.where, broken.error)

    def _episode(self, number: int, task: Task, env: TextEnv) -> Episode:
        observation, info = self._call("reset", partial(reset_env, env, task.seed, task.task_id))
        task_id, task_type = info.get("task_id"), card_detail(info, "task_type")
        observations: list[str] = []
        turns: list[Turn] = []
        success = terminated = truncated = out_of_context = False
        while not (terminated or truncated):
            observations.append(observation)
            messages = make_messages(observations, [turn.action for turn in turns], self.settings.window)
            reply = self._ask(messages, (number, len(turns)))
            if reply is None:
                truncated = out_of_context = True
                break
            action, seen, state = reply.text.strip(), observation, state_digest(observation, info)
            result = self._call(f"step {len(turns) + 1}", partial(step_env, env, action))
            observation, reward, terminated, truncated, info = result
            invalid = info.get("valid_command") is False
            turns.append(Turn(seen, action, reward, 0, 0, 0, cut=reply.cut, invalid=invalid, state=state))
            success = is_success(info, terminated, sum(turn.reward for turn in turns))
        return Episode(
            seed=task.seed,
            task_id=None if task_id is None else str(task_id),
            token_ids=np.zeros(0, dtype=np.int64),
            action_mask=np.zeros(0, dtype=np.bool_),
            logprobs=np.zeros(0, dtype=np.float32),
            turns=tuple(turns),
            success=success,
            terminated=terminated,
            truncated=truncated,
            truncated_by_context=out_of_context,
            final_observation=observation,
            task_type=task_type,
        )

    def _ask(self, messages: list[Message], place: tuple[int, int]) -> Reply | None:
        """Return the reply that is the next action; None if the conversation has outgrown the context."""
        if self.failure is not None:
            raise self.failure
        settings, seed = self.settings, None
        if settings.temperature > 0:
            # 31 bits: some servers read a signed 32-bit number.
            seed = int(np.random.SeedSequence([self.seed, *place]).generate_state(1)[0]) >> 1
        try:
            reply = self.endpoint.complete(
                messages, max_tokens=settings.max_new_tokens, temperature=settings.temperature, seed=seed
            )
        except ContextLengthError:
            return None
        needed = reply.usage.prompt_tokens + settings.max_new_tokens + 1  # 1: the end of a cut turn
        return reply if needed <= settings.max_context_tokens else None

    def _call(self, where: str, call: Callable[[], R]) -> R:
        """Call an environment; `where` says which call it is, should it raise."""
        with self._env_places:
            try:
                return call()
            except (ConfigError, EnvironmentContractError):  # no other environment of the kind would do better
                raise
            except Exception as error:  # third-party code may raise anything
                raise _BrokenEnvError(where, error) from error
