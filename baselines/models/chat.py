"""Chat templates, one turn at a time: the tokens that stand are never written again.

A template is a function of a whole conversation. A policy needs the opposite: what to append now. `ChatFormat` takes
the difference of two renderings, and refuses templates for which there is none (those that strip the reasoning of
earlier turns, for example), because history would then differ between rollout and training.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from transformers import PreTrainedTokenizerBase

from baselines.errors import ChatTemplateError

Message: TypeAlias = dict[str, str]

# For models that come without a template: plain text, each action closed by the tokenizer's own end of sequence.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Action:\n' + message['content'] + eos_token + '\n' }}"
    "{% else %}{{ 'Observation:\n' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Action:\n' }}{% endif %}"
)

_PROBES = ("look around", "<think>\nthe lamp is east\n</think>\n\ngo east")
_MAX_REMEMBERED = 100_000  # actions; they come again and again where an environment lists its commands
_OPENING: list[Message] = [{"role": "user", "content": "a room"}, {"role": "assistant", "content": "look around"}]


class ChatFormat:
    """Turns text into the token ids that extend a conversation by one turn.

    Attributes:
        end_token_id: the control token that closes an action; the policy samples it to end its turn.

    Raises:
        ChatTemplateError: the template rewrites earlier turns, depends on how many there were, or closes an action
            with something other than a special token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._actions: dict[str, tuple[int, ...]] = {}
        if not tokenizer.chat_template:
            tokenizer.chat_template = PLAIN_TEMPLATE
        self._check_prefix_stable()
        self._opening = self._render(_OPENING, prompt=False)
        self._control = self._read_control_tokens()
        self.end_token_id, self._after_end = self._read_turn_end()
        written = sorted(self._control.values(), key=len, reverse=True)
        self._written = re.compile("|".join(re.escape(token) for token in written)) if written else None

    def first_turn(self, observation: str) -> list[int]:
        """Return the token ids of a conversation that starts with `observation`, up to where the policy begins to speak."""
        return self._encode(self._render([_user(self._defuse(observation))], prompt=True))

    def next_turn(self, observation: str) -> list[int]:
        """Token ids that follow an action's end token: the rest of its frame, `observation`, the prompt to speak."""
        rendered = self._render([*_OPENING, _user(self._defuse(observation))], prompt=True)
        return self._encode(self._after_end + rendered[len(self._opening) :])

    def action(self, text: str) -> list[int]:
        """Return the token ids of an action as a policy would have sampled it, its end token included."""
        if text not in self._actions:
            if len(self._actions) >= _MAX_REMEMBERED:
                self._actions.clear()
            self._actions[text] = (*self._encode(self._defuse(text)), self.end_token_id)
        return list(self._actions[text])

    def decode_action(self, token_ids: list[int]) -> str:
        """Return the text of a sampled action, without control tokens and outer white space."""
        said = [token_id for token_id in token_ids if token_id not in self._control]
        # Some versions of transformers take out spaces before punctuation unless they are asked not to.
        text = self._tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text).strip()

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: list[Message], prompt: bool) -> str:
        return _rendered(self._tokenizer, messages, prompt)

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
        framed = set(self._encode(self._render(conversation, prompt=False)))
        for message in _OPENING:
            framed.difference_update(self._encode(message["content"]))
        named = set(tokenizer.all_special_tokens)
        return {
            token_id: token.content
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip() and (token.special or token.content in named or token_id in framed)
        }

    def _check_prefix_stable(self) -> None:
        for action in _PROBES:
            said = {"role": "assistant", "content": action}
            conversation = [_user("a room"), said, _user("a hall"), said, _user("a hall")]
            texts = [self._render(conversation[: n + 1], prompt=n % 2 == 0) for n in range(5)]
            steps = zip(texts[:-1], texts[1:], (action, "", action, ""), strict=True)
            for number, (before, after, content) in enumerate(steps, start=1):
                if not after.startswith(before + content):
                    raise ChatTemplateError(
                        f"expected a chat template that only appends, got one that rewrites earlier text at message "
                        f"{number + 1} (for the action {action!r}); use a model or template that keeps earlier turns"
                    )
            if texts[2][len(texts[1]) :] != texts[4][len(texts[3]) :]:
                raise ChatTemplateError("expected a chat template that frames every turn alike, got one that does not")

    def _read_turn_end(self) -> tuple[int, str]:
        before = self._render(_OPENING[:1], prompt=True) + _OPENING[1]["content"]
        closing = self._opening[len(before) :].lstrip(" ")
        special = self._control
        token_ids = self._encode(closing)
        if not token_ids or token_ids[0] not in special or not closing.startswith(special[token_ids[0]]):
            raise ChatTemplateError(
                f"expected a chat template that closes an action with a special token, got {closing!r}"
            )
        return token_ids[0], closing[len(special[token_ids[0]]) :]


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message], prompt: bool) -> str:
    rendered: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return str(rendered)
