r"""Transcripts: episodes as a person reads them, in a file of JSON Lines and on one static page.

A file holds one episode per line; whatever can be said turn by turn fits, a training iteration or somebody's
trajectories. Keys marked ? may be left out:

    {"version": 1, "env_id": str, "seed": int or null, "task_id": str or null, "title"?: str,
     "success": bool, "return": float, "outcome": str,
     "turns": [{"observation": str, "action": str, "reward": float, "cut"?: bool, "admissible_commands"?: [str, ..],
                "detail"?: str, "tokens"?: [[text, advantage, logprob], ..]}, ..],
     "final_observation": str}

`detail` is anything else to be seen at a turn, line by line: a map, a diff. `cut` says that the action reached the token
limit. `tokens` are the tokens that the policy sampled in this turn, its end token included; the texts, one after the
other and without special tokens and outer white space, read as the action. A character that is spread over several
tokens (a byte-level vocabulary does that) belongs to the token that completes it, and the tokens before have an empty
text; bytes that never become a character read U+FFFD. `advantage` and `logprob` (nats) are null where there is none or
it is not finite.

The page needs no server and no network, and names single turns: `page.html#episode=3&turn=5` is the fifth turn of the
third line of the file.

How to run:

    python -m baselines.runs.transcripts runs/grpo/episodes/step-00000010.jsonl --out page.html
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np
import tyro
from numpy.typing import NDArray
from typing_extensions import NotRequired, TypedDict

from baselines.errors import BaselinesError
from baselines.runs.files import write_whole
from baselines.sampling.episode import Episode, Turn

if TYPE_CHECKING:  # a page is drawn without loading a model's library
    from transformers import PreTrainedTokenizerBase

VERSION: Literal[1] = 1

TokenRow: TypeAlias = tuple[str, float | None, float | None]
"""Text, advantage and log-probability of one token."""


class TranscriptTurn(TypedDict):
    """One turn of a transcript; the keys are described at the top of this file."""

    observation: str
    action: str
    reward: float
    cut: NotRequired[bool]
    admissible_commands: NotRequired[list[str]]
    detail: NotRequired[str]
    tokens: NotRequired[list[TokenRow]]


Transcript = TypedDict(
    "Transcript",
    {
        "version": Literal[1],
        "env_id": str,
        "seed": int | None,
        "task_id": str | None,
        "title": NotRequired[str],
        "success": bool,
        "return": float,
        "outcome": str,
        "turns": list[TranscriptTurn],
        "final_observation": str,
    },
)


class TranscriptError(BaselinesError):
    """A file of transcripts is missing or damaged."""


def make_transcript(
    episode: Episode,
    env_id: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    advantages: NDArray[np.floating[Any]] | None = None,
    title: str = "",
) -> Transcript:
    """Turn an episode into words.

    Args:
        episode: the episode.
        env_id: where.
        tokenizer: decodes the action tokens; without one the transcript has no tokens.
        advantages: (T,) one per token of the episode, padding after them allowed; None leaves them out.
        title: shown over the episode.

    Raises:
        ValueError: advantages without a tokenizer, or fewer than tokens.
    """
    if advantages is not None and tokenizer is None:
        raise ValueError("expected a tokenizer to name the tokens that the advantages belong to, got None")
    if advantages is not None and (advantages.ndim != 1 or len(advantages) < episode.num_tokens):
        raise ValueError(f"expected advantages ({episode.num_tokens},) or longer, got {advantages.shape}")
    turns: list[TranscriptTurn] = []
    for turn in episode.turns:
        words: TranscriptTurn = {"observation": turn.observation, "action": turn.action, "reward": float(turn.reward)}
        if turn.cut:
            words["cut"] = True
        if tokenizer is not None:
            words["tokens"] = _token_rows(episode, turn, tokenizer, advantages)
        turns.append(words)
    transcript: Transcript = {
        "version": VERSION,
        "env_id": env_id,
        "seed": int(episode.seed),
        "task_id": episode.task_id,
        "success": bool(episode.success),
        "return": episode.episode_return,
        "outcome": episode.outcome,
        "turns": turns,
        "final_observation": episode.final_observation,
    }
    if title:
        transcript["title"] = title
    return transcript


def write_transcripts(
    path: Path,
    episodes: Sequence[Episode],
    *,
    env_id: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    advantages: NDArray[np.floating[Any]] | None = None,
    title: str = "",
) -> list[Transcript]:
    """Write N episodes as transcripts, and return them; the file is whole or not there.

    Args:
        path: the file, whose folder is made; replaced if it exists.
        episodes: one line each, in this order.
        env_id: id of their environment.
        tokenizer: decodes the action tokens; without one the transcripts have no tokens.
        advantages: (N, T) advantage of each token, T at least the longest episode, in the columns of
            `Episode.token_ids`; what stands off the action mask is not read.
        title: shown over each episode ("iteration 40").

    Raises:
        ValueError: advantages of another shape or without a tokenizer, or a reward that is not finite.
    """
    if advantages is not None and (advantages.ndim != 2 or len(advantages) != len(episodes)):
        raise ValueError(f"expected advantages ({len(episodes)}, T), got {advantages.shape}")
    rows = [None] * len(episodes) if advantages is None else list(advantages)
    transcripts = [
        make_transcript(episode, env_id, tokenizer, row, title) for episode, row in zip(episodes, rows, strict=True)
    ]
    save_transcripts(path, transcripts)
    return transcripts


def save_transcripts(path: Path, transcripts: Sequence[Transcript]) -> None:
    """Write transcripts, one line each, to `path`, whose folder is made; the file is whole or not there.

    Raises:
        ValueError: a number is not finite.
    """
    write_whole(path, "".join(json.dumps(transcript, allow_nan=False) + "\n" for transcript in transcripts))


def read_transcripts(path: Path) -> list[Transcript]:
    """Read a file of transcripts.

    Raises:
        TranscriptError: there is no such file, or a line of it is not a transcript; which line and why is in the
            message.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise TranscriptError(f"expected a file of transcripts, got {path}: {error.strerror}") from error
    transcripts = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                transcripts.append(parse_transcript(line))
            except TranscriptError as damage:
                raise TranscriptError(f"{path}, line {number}: {damage}") from damage
    return transcripts


def parse_transcript(line: bytes) -> Transcript:
    """Return a transcript from its line; keys that are not described at the top of this file are kept as they are.

    Raises:
        TranscriptError: the line is not a transcript; why is in the message.
    """
    try:
        record = parse_json(line.decode("utf-8"))
        msgspec.convert(record, Transcript)
    except msgspec.ValidationError as error:
        raise TranscriptError(f"{str(error)[0].lower()}{str(error)[1:]}") from error
    except (ValueError, RecursionError) as error:
        raise TranscriptError(f"expected a JSON object, got text that does not parse ({error})") from error
    transcript: Transcript = record
    return transcript


def write_page(
    path: Path, transcripts: Sequence[Transcript], title: str, parent: tuple[str, str] | None = None
) -> None:
    """Write one HTML file that shows the transcripts, needs nothing else and runs nothing that they contain.

    Args:
        path: the page, whose folder is made; replaced if it exists.
        transcripts: in the order in which the page counts them, from 1.
        title: heading of the page.
        parent: words and address of a link to the page that this one belongs to.

    Raises:
        ValueError: a number is not finite.
    """
    # A browser's numbers hold 53 bits; as text a seed of 64 survives.
    seeds = [None if transcript["seed"] is None else str(transcript["seed"]) for transcript in transcripts]
    shown = [{**transcript, "seed": seed} for transcript, seed in zip(transcripts, seeds, strict=True)]
    data = script_json({"title": title, "transcripts": shown, "parent": parent})
    template = resources.files("baselines.runs").joinpath("viewer.html").read_text(encoding="utf-8")
    before, _, after = template.partition("__TRANSCRIPTS__")
    write_whole(path, before + data + after)


def script_json(data: Any) -> str:
    """Return JSON that may stand in a `<script type="application/json">`, whatever the texts in it.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, allow_nan=False)
    # JSON has these characters in strings only, where an escape means the same; so no text can close the element.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def token_texts(tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int]) -> list[str]:
    """Decode tokens one by one such that the texts, joined, are what decoding them together gives.

    Each token is read behind those of the last complete text, because a tokenizer may treat the beginning of a text
    differently. A text that ends in U+FFFD may be half a character: it waits for the tokens that complete it, and what
    is left at the end goes to the last token.

    Args:
        tokenizer: of the model that sampled the tokens.
        token_ids: (K,) the tokens.

    Returns:
        K texts, special tokens written out; empty where a character is completed by a later token.
    """

    def decode(first: int, end: int) -> str:
        ids = list(token_ids[first:end])
        return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    texts: list[str] = []
    context = done = 0  # tokens before `done` have been printed; those from `context` to `done` are read again
    for end in range(1, len(token_ids) + 1):
        text = decode(context, end)
        if text.endswith("\ufffd") and end < len(token_ids):
            texts.append("")
            continue
        texts.append(text[len(decode(context, done)) :])
        context, done = done, end
    return texts


def _token_rows(
    episode: Episode,
    turn: Turn,
    tokenizer: PreTrainedTokenizerBase,
    advantages: NDArray[np.floating[Any]] | None,
) -> list[TokenRow]:
    """Return rows of the tokens that the policy sampled in `turn`; the end token of a cut action is not among them."""
    places = [place for place in range(turn.action_start, turn.end) if episode.action_mask[place]]
    texts = token_texts(tokenizer, [int(episode.token_ids[place]) for place in places])
    return [
        (text, None if advantages is None else _short(advantages[place]), _short(episode.logprobs[place]))
        for text, place in zip(texts, places, strict=True)
    ]


def _short(value: float) -> float | None:
    """Return six digits, which is what single precision holds; None for what JSON cannot say."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def parse_json(text: str) -> Any:
    """Return the content of JSON whose numbers are finite: there are no others in JSON, and no browser would read them.

    Raises:
        ValueError: the text does not parse.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not JSON: numbers are finite")
    return value


@dataclass(frozen=True)
class Config:
    """Options of the page."""

    file: tyro.conf.Positional[Path]
    """File of transcripts, one JSON object per line."""
    out: Path | None = None
    """The page; by default next to the file, with the ending .html."""


def main() -> None:
    """Draw a page from the command line."""
    config = tyro.cli(Config, description=__doc__)
    out = config.out or config.file.with_suffix(".html")
    if out == config.file:
        raise SystemExit(f"error: expected --out to be another file than the transcripts, got {out}")
    try:
        write_page(out, read_transcripts(config.file), config.file.name)
    except (BaselinesError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    sys.stdout.write(f"page written to {out}\n")


if __name__ == "__main__":
    main()
