"""Chat templates, one turn at a time: the tokens that stand are never written again.

A template is a function of a whole conversation. A policy needs the opposite: what to append now. `ChatFormat` takes
the difference of two successive prompts of plain actions, and refuses templates for which there is none. An action may be a
thought and an answer: many templates write the answer alone into later prompts. `conversation` makes such prompts, of
actions as they were sampled and of answers, and `make_prompt` chooses what a turn shows: the whole history, or the first
observation, the last turns and the current observation; of earlier actions all that was sampled, or their answers alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from baselines.config.settings import KeepThoughts, RolloutSettings
from baselines.errors import ChatTemplateError
from baselines.runs.log import warn

Message: TypeAlias = dict[str, str]

SEPARATOR = "\n\n"
"""Between the first observation and the first one of the window, which stand in one message."""

# For models that come without a template: plain text, each action closed by the tokenizer's own end of sequence.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Action:\n' + message['content'] + eos_token + '\n' }}"
    "{% else %}{{ 'Observation:\n' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Action:\n' }}{% endif %}"
)

_MARKS = ("<think>", "</think>")
_SPLIT = re.compile("(</?think>)")
_CLOSE_THOUGHT = "\n</think>\n\n"
_MAX_REMEMBERED = 100_000  # actions; they come again and again where an environment lists its commands
_OPENING: list[Message] = [{"role": "user", "content": "a room"}, {"role": "assistant", "content": "look around"}]


class ChatFormat:
    """Turns text into the token ids that extend a conversation by one turn.

    Attributes:
        end_token_id: the control token that closes an action; the policy samples it to end its turn.

    Raises:
        ChatTemplateError: the template rewrites earlier turns of plain words, depends on how many there were, or closes an
            action with something other than a special token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._actions: dict[str, tuple[int, ...]] = {}
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._control = self._read_control_tokens()
        self._read_frame()
        self._read_ends()
        self._has_warned = self._has_warned_of_loss = False
        written = sorted(self._control.values(), key=len, reverse=True)
        self._written = re.compile("|".join(re.escape(token) for token in written)) if written else None

    def first_turn(self, observation: str) -> list[int]:
        """Return the token ids of a conversation that starts with `observation`, up to where the policy begins to speak."""
        return self._encode(self._first(observation) + self._lead)

    def next_turn(self, observation: str) -> list[int]:
        """Return the token ids behind an action's end token: the rest of its frame, `observation`, the prompt to speak."""
        return self._encode_behind(self._next(observation) + self._lead)

    def conversation(self, observations: Sequence[str], actions: Sequence[Sequence[int] | str]) -> list[int]:
        """Return the token ids of the prompt that answers the last observation.

        Args:
            observations: one more than there are actions.
            actions: each as the tokens that were sampled, or as the text of its answer, which is written as the template
                writes a plain action of an earlier turn.
        """
        token_ids: list[int] = []
        text, encode = self._first(observations[0]), self._encode
        for action, observation in zip(actions, observations[1:], strict=True):
            if isinstance(action, str):
                text += self._plain_lead + self._defuse(action) + self._plain_end + self._next(observation)
            else:
                token_ids += [*encode(text + self._lead), *action]
                text, encode = self._next(observation), self._encode_behind
        return token_ids + encode(text + self._lead)

    def action(self, text: str) -> list[int]:
        """Return the token ids of an action as a policy would have sampled it, its end token included.

        A text without a thought is an answer: where a prompt ends inside a thought, the thought is closed first.
        """
        if text not in self._actions:
            if len(self._actions) >= _MAX_REMEMBERED:
                self._actions.clear()
            self._actions[text] = (*self._encode_behind(self._said(text)), self.end_token_id)
        return list(self._actions[text])

    def decode_action(self, token_ids: Sequence[int]) -> str:
        """Return the answer of a sampled action as text; see `read_action`."""
        return self.read_action(token_ids)[1]

    def read_action(self, token_ids: Sequence[int]) -> tuple[str, str]:
        """Return thought and answer of a sampled action as text, without control tokens and outer white space."""
        return self.split_thought(self._text(token_ids))

    def is_thinking(self, token_ids: Sequence[int]) -> bool:
        """Return True if the tokens of an action so far end inside a thought."""
        text = self._text(token_ids)
        begun = self._opens_thought or text.lstrip().startswith(self._thought_mark)
        return begun and self._answer_mark not in text

    @property
    def rewrites_prompts(self) -> bool:
        """True if an earlier turn begins otherwise than a prompt to speak ends, whatever the action."""
        return bool(self._lead)

    @property
    def closing_ids(self) -> list[int]:
        """Token ids that end a thought, so that an answer can follow."""
        if self._has_channels:
            return self._encode_behind(self._header + self._plain_lead)
        return self._encode_behind(_CLOSE_THOUGHT)

    def split_thought(self, text: str) -> tuple[str, str]:
        """Return the thought of an action, its marks included, and its answer; either may be empty.

        What stands behind the last mark that ends a thought is the answer. A text that begins a thought, or continues one
        that its prompt has begun, and does not end it is a thought altogether.
        """
        thought, mark, answer = text.rpartition(self._answer_mark)
        if mark:
            return (thought + mark).strip(), answer.strip()
        if self._opens_thought or text.lstrip().startswith(self._thought_mark):
            return text.strip(), ""
        return "", text.strip()

    def keeps(self, text: str) -> bool:
        """Return True if the template writes an action into the prompts of later turns as it was said."""
        return text.strip() in self._prompt(_OPENING[0], {"role": "assistant", "content": text}, _user("a hall"))

    def warn_of_thought(self, thought: str) -> None:
        """Warn once of a thought that the template would not write into later prompts."""
        if not self._has_warned and not self.keeps(thought + "\n\ngo"):
            self._has_warned = True
            warn(
                f"the chat template rewrites actions like {thought!r:.60} in later turns; here they stay as they were "
                "sampled: --keep-thoughts none leaves thoughts out, as the template does"
            )

    def warn_of_loss(self, token_ids: Sequence[int], answer: str) -> None:
        """Warn once of an answer that the tokens of its action do not say, as where a token takes in spaces around it."""
        said = self.decode_action(token_ids)
        if said != answer and not self._has_warned_of_loss:
            self._has_warned_of_loss = True
            warn(
                f"the tokenizer cannot write the action {answer!r:.60}: its tokens say {said!r:.60}, and that is learned"
            )

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode_behind(self, text: str) -> list[int]:
        """Encode what stands behind a control token: some tokenizers begin a text with a space that is not in it."""
        return self._encode(self._end_token + text)[1:]

    def _prompt(self, *messages: Message) -> str:
        """Return a conversation as text, up to where the policy begins to speak."""
        return _rendered(self._tokenizer, list(messages), prompt=True)

    def _first(self, observation: str) -> str:
        """Return the text of a first turn without what stands between it and an action."""
        text = self._prompt(_user(self._defuse(observation)))
        return text[: len(text) - len(self._lead)]

    def _next(self, observation: str) -> str:
        """Return the text behind an action's end token, without what stands between it and the next action."""
        text = self._prompt(*_OPENING, _user(self._defuse(observation)))
        return text[len(self._opening) : len(text) - len(self._lead)]

    def _text(self, token_ids: Sequence[int]) -> str:
        """Decode an action; control tokens are left out, but for the marks of a thought."""
        said = [token_id for token_id in token_ids if token_id not in self._control or token_id in self._marks]
        # Some versions of transformers take out spaces before punctuation unless they are asked not to.
        return str(self._tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _defuse(self, text: str) -> str:
        """Break up control tokens written out in a text, so that it cannot close a turn or open one."""
        if self._written is None:
            return text
        return self._written.sub(lambda match: match.group()[:1] + " " + match.group()[1:], text)

    def _read_control_tokens(self) -> dict[int, str]:
        """Return the tokens by id that text may not write: special ones, and added ones that frame turns.

        Other added tokens are ordinary text: runs of spaces, HTML tags, the marks of a model's reasoning.
        """
        tokenizer = self._tokenizer
        conversation = [*_OPENING, _user("a room")]
        framed = set(self._encode(_rendered(self._tokenizer, conversation, prompt=False)))
        for message in _OPENING:
            framed.difference_update(self._encode(message["content"]))
        named = set(tokenizer.all_special_tokens)
        return {
            token_id: token.content
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip() and (token.special or token.content in named or token_id in framed)
        }

    def _read_frame(self) -> None:
        """Read what the template writes around plain actions, and check that successive prompts only append."""
        action, again = _OPENING[1], _user("a hall")
        conversation = [*_OPENING, again, action, again]
        prompts = [self._prompt(*conversation[: n + 1]) for n in (0, 2, 4)]
        # Behind what all prompts share, a prompt to speak may end otherwise than an earlier turn begins.
        shared = _num_shared(*prompts[:2])
        self._lead = prompts[0][shared:]
        content = _OPENING[0]["content"]
        self._header = prompts[0][
            prompts[0].rindex(content) + len(content) : shared
        ]  # end of a message, begin of the next
        added = []
        for before, after in pairwise(prompts):
            kept = before[: len(before) - len(self._lead)]
            if not (after.startswith(kept) and after.endswith(self._lead)):
                place = _num_shared(before, after)
                raise ChatTemplateError(
                    "expected a chat template that only appends, got one that rewrites earlier text: it writes "
                    f"{after[place : place + 40]!r} where the prompt before had {before[place : place + 40]!r}"
                )
            added.append(after[len(kept) :])
        said = added[0].find(action["content"])
        self._plain_lead = added[0][: max(said, 0)]
        plain = not re.sub(_SPLIT, "", self._plain_lead).strip() or self._first_control(self._plain_lead)
        if said < 0 or not plain:
            raise ChatTemplateError(
                "expected a chat template that writes an action right behind its prompt, got one that writes "
                f"{added[0][:60]!r} for {action['content']!r}"
            )
        if added[0] != added[1]:
            raise ChatTemplateError("expected a chat template that frames every turn alike, got one that does not")
        frame = added[0][said + len(action["content"]) :]
        token = self._closing(frame)
        self._plain_end = frame[: len(frame) - len(frame.lstrip(" "))] + token
        self._opening = prompts[0][:shared] + self._plain_lead + action["content"] + self._plain_end

    def _read_ends(self) -> None:
        """Read how an action that has just been said ends, and how a thought begins and ends."""
        last = _rendered(self._tokenizer, list(_OPENING), prompt=False)
        self._end_token = self._closing(last[last.rindex(_OPENING[1]["content"]) + len(_OPENING[1]["content"]) :])
        self.end_token_id = self._encode(self._end_token)[0]
        self._has_channels = bool(self._first_control(self._plain_lead))
        self._answer_mark, self._thought_mark = "</think>", "<think>"
        if self._has_channels:
            self._answer_mark, self._thought_mark = self._plain_lead, self._first_control(self._plain_lead)
        prompt = self._prompt(_OPENING[0])
        self._opens_thought = prompt.rfind("<think>") > prompt.rfind("</think>")
        marks = self._encode(self._answer_mark + self._thought_mark)
        self._marks = {token_id for token_id in marks if token_id in self._control}
        if self._has_channels:  # as it reads when it is decoded: some tokenizers put in spaces
            self._answer_mark = self._text(self._encode(self._plain_lead))

    def _said(self, text: str) -> str:
        """Return an action as a policy would have written it behind its prompt."""
        answer = self.split_thought(text)[1]
        if self._has_channels:
            return self._plain_lead + self._defuse(text)
        if self._opens_thought:
            if not answer or self._answer_mark not in text:
                return _CLOSE_THOUGHT + self._defuse(text)
            text = text.lstrip().removeprefix("<think>").lstrip("\n")
        # A policy writes the white space that the template puts before an action.
        lead = "" if self._lead or self._opens_thought else self._plain_lead
        return lead + "".join(part if part in _MARKS else self._defuse(part) for part in re.split(_SPLIT, text))

    def _first_control(self, text: str) -> str:
        """Return the control token that a text begins with, "" if there is none."""
        token_ids = self._encode(text)
        token = self._control.get(token_ids[0], "") if token_ids else ""
        return token if text.startswith(token) else ""

    def _closing(self, frame: str) -> str:
        """Return the control token that closes an action, at the beginning of what follows it."""
        closing = frame.lstrip(" ")
        token = self._first_control(closing)
        if not token:
            shown = closing[: len(closing) - len(closing.lstrip())] or closing[:40]
            raise ChatTemplateError(
                f"expected a chat template that closes an action with a special token, got {shown!r}"
            )
        return token


class SaidAction(NamedTuple):
    """An action of an earlier turn.

    Attributes:
        token_ids: as it was sampled, its end token included.
        answer: its text without a thought.
        has_thought: True if it holds more than its answer.
    """

    token_ids: list[int]
    answer: str
    has_thought: bool = False


def make_prompt(
    chat: ChatFormat,
    observations: Sequence[str],
    actions: Sequence[SaidAction],
    settings: RolloutSettings,
    read: Sequence[int] = (),
) -> tuple[list[int], bool]:
    """Return the prompt of the turn that answers the last observation.

    Args:
        chat: the policy's chat format.
        observations: all of the episode so far, at least one.
        actions: those between them.
        settings: its context and its thoughts.
        read: tokens of the last sequence so far. A prompt that begins with them continues it.

    Returns:
        The tokens that put the observation to the policy, and True if they follow what it has read in the sequence so far;
        False if they begin a sequence.
    """
    first = first_shown(len(actions), settings.window)
    shown = show_actions(chat, actions[first:], settings.keep_thoughts)
    if first == 0 and not any(isinstance(action, str) for action in shown):
        text = observations[-1]
        return (chat.next_turn(text) if actions else chat.first_turn(text)), bool(actions)
    token_ids = chat.conversation([opening(observations, first), *observations[first + 1 :]], shown)
    if read and token_ids[: len(read)] == list(read):
        return token_ids[len(read) :], True
    return token_ids, False


def show_actions(chat: ChatFormat, actions: Sequence[SaidAction], keep: KeepThoughts) -> list[list[int] | str]:
    """Return earlier actions as a prompt shows them: as they were sampled, or their answers as text."""
    kept = {"all": len(actions), "last": 1, "none": 0}[keep]
    return [
        action.answer
        if number < len(actions) - kept and (action.has_thought or chat.rewrites_prompts)
        else action.token_ids
        for number, action in enumerate(actions)
    ]


def make_messages(observations: Sequence[str], actions: Sequence[str], window: int | None) -> list[Message]:
    """Return the same prompt as chat messages: observations are the user's, actions the assistant's."""
    first = first_shown(len(actions), window)
    messages = [{"role": "user", "content": opening(observations, first)}]
    for action, observation in zip(actions[first:], observations[first + 1 :], strict=True):
        messages += [{"role": "assistant", "content": action}, {"role": "user", "content": observation}]
    return messages


def first_shown(num_turns: int, window: int | None) -> int:
    """Return the number of the first of `num_turns` earlier turns that a prompt shows."""
    return 0 if window is None else max(0, num_turns - window)


def opening(observations: Sequence[str], first: int) -> str:
    """Return the text of a prompt's first message, where `first` is the first turn that it shows."""
    return observations[0] if first == 0 else observations[0] + SEPARATOR + observations[first]


def _num_shared(one: str, other: str) -> int:
    """Return the number of characters that two texts have in common at their beginning."""
    return next((n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message], prompt: bool) -> str:
    try:
        rendered: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    except (TemplateError, TypeError) as error:  # jinja2's own, and what an expression of the template raises
        raise ChatTemplateError(
            f"expected a chat template that writes messages of user and assistant, got one that fails: {error}"
        ) from error
    return str(rendered)
