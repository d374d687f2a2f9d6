"""Chat templates, one turn at a time: the tokens that stand are never written again.

A template is a function of a whole conversation. A policy needs the opposite: what to append now. `ChatFormat` takes
the difference of two successive prompts, and refuses templates for which there is none, because history would then differ
between rollout and training. Some templates only append to actions of plain words, and strip reasoning from earlier turns:
of them, actions with reasoning are refused.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, TypeAlias

from transformers import PreTrainedTokenizerBase

from baselines.errors import ChatTemplateError
from baselines.runs.log import warn

Message: TypeAlias = dict[str, str]

# For models that come without a template: plain text, each action closed by the tokenizer's own end of sequence.
PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Action:\n' + message['content'] + eos_token + '\n' }}"
    "{% else %}{{ 'Observation:\n' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Action:\n' }}{% endif %}"
)

_REASONING = "<think>\nthe lamp is east\n</think>\n\ngo east"
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
        frame = self._read_frame()
        self._keeps_reasoning = self._keeps(_REASONING)
        self._has_warned = False
        self._control = self._read_control_tokens()
        self.end_token_id, self._end_token = self._read_turn_end(frame)
        written = sorted(self._control.values(), key=len, reverse=True)
        self._written = re.compile("|".join(re.escape(token) for token in written)) if written else None

    def first_turn(self, observation: str) -> list[int]:
        """Return the token ids of a conversation that starts with `observation`, up to where the policy begins to speak."""
        return self._encode(self._prompt(_user(self._defuse(observation))))

    def next_turn(self, observation: str) -> list[int]:
        """Return the token ids behind an action's end token: the rest of its frame, `observation`, the prompt to speak."""
        rendered = self._prompt(*_OPENING, _user(self._defuse(observation)))
        return self._encode_behind(rendered[len(self._opening) :])

    def action(self, text: str) -> list[int]:
        """Return the token ids of an action as a policy would have sampled it, its end token included.

        Raises:
            ChatTemplateError: the template rewrites such an action in later turns.
        """
        if text not in self._actions:
            if not (self._keeps_reasoning or self._keeps(text)):
                raise ChatTemplateError(
                    f"expected an action that the chat template keeps in later turns, got {text!r:.60}, which it rewrites; "
                    "use a model or template that keeps the reasoning of earlier turns"
                )
            if len(self._actions) >= _MAX_REMEMBERED:
                self._actions.clear()
            self._actions[text] = (*self._encode_behind(self._lead + self._defuse(text)), self.end_token_id)
        return list(self._actions[text])

    def decode_action(self, token_ids: list[int]) -> str:
        """Return the text of a sampled action, without control tokens and outer white space.

        Warns once of an action that the template would rewrite in later turns; histories keep it as it was sampled.
        """
        said = [token_id for token_id in token_ids if token_id not in self._control]
        # Some versions of transformers take out spaces before punctuation unless they are asked not to.
        text = str(self._tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()
        if not (self._keeps_reasoning or self._has_warned or self._keeps(text)):
            self._has_warned = True
            warn(
                f"the chat template rewrites actions like {text!r:.60} in later turns; here they stay as they were sampled"
            )
        return text

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode_behind(self, text: str) -> list[int]:
        """Encode what stands behind a control token: some tokenizers begin a text with a space that is not in it."""
        return self._encode(self._end_token + text)[1:]

    def _prompt(self, *messages: Message) -> str:
        """Return a conversation as text, up to where the policy begins to speak."""
        return _rendered(self._tokenizer, list(messages), prompt=True)

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

    def _read_frame(self) -> str:
        """Check that successive prompts only append, and return what they append behind an action."""
        action, again = _OPENING[1], _user("a hall")
        conversation = [*_OPENING, again, action, again]
        prompts = [self._prompt(*conversation[: n + 1]) for n in (0, 2, 4)]
        added = []
        for before, after in pairwise(prompts):
            if not after.startswith(before):
                shared = next((n for n, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), len(after))
                raise ChatTemplateError(
                    "expected a chat template that only appends, got one that rewrites earlier text: it writes "
                    f"{after[shared : shared + 40]!r} where the prompt before had {before[shared : shared + 40]!r}"
                )
            added.append(after[len(before) :])
        self._lead = added[0][: len(added[0]) - len(added[0].lstrip())]
        said = self._lead + action["content"]
        if not added[0].startswith(said):
            raise ChatTemplateError(
                "expected a chat template that writes an action right behind its prompt, got one that writes "
                f"{added[0][:60]!r} for {action['content']!r}"
            )
        if added[0] != added[1]:
            raise ChatTemplateError("expected a chat template that frames every turn alike, got one that does not")
        self._opening = prompts[0] + said
        return added[0][len(said) :]

    def _keeps(self, action: str) -> bool:
        """Return True if an action stands in the prompt of the next turn as it was said, but for outer white space."""
        said: Message = {"role": "assistant", "content": action}
        before, after = self._prompt(_OPENING[0]), self._prompt(_OPENING[0], said, _user("a hall"))
        return after.startswith(before) and after[len(before) :].lstrip().startswith(action.strip())

    def _read_turn_end(self, frame: str) -> tuple[int, str]:
        """Return the control token that closes an action, and move `_opening` behind it."""
        closing = frame.lstrip(" ")
        token_ids = self._encode(closing)
        token = self._control.get(token_ids[0], "") if token_ids else ""
        if not token or not closing.startswith(token):
            shown = closing[: len(closing) - len(closing.lstrip())] or closing[:40]
            raise ChatTemplateError(
                f"expected a chat template that closes an action with a special token, got {shown!r}"
            )
        self._opening += frame[: len(frame) - len(closing)] + token
        return token_ids[0], token


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: list[Message], prompt: bool) -> str:
    rendered: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    return str(rendered)
