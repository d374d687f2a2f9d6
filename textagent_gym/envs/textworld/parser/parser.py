"""From a typed line to an action: the reading of Inform 7's parser, as TextWorld games have it.

The parser tries the lines of a verb in their order and takes the first that fits. For each noun it gathers what is in
reach and answers to the words, scores the candidates, and either takes the best, infers one, or asks. Which message an
unreadable line earns depends on which line of the verb failed last and worst; so the order of events here is Inform's
(build 6M62, `Parser.i6t`), rewritten for worlds without animals, clothes, darkness and devices. The paragraphs of that
file are named where a rule would surprise.
"""

from __future__ import annotations

from textagent_gym.envs.textworld.parser.grammar import DIRECTIONS, MULTIPLE, NUMBER_WORDS, SLOTS, dictionary_form
from textagent_gym.envs.textworld.parser.noun_phrases import NounReader
from textagent_gym.envs.textworld.parser.tokens import (
    ALL,
    CONNECTIVES,
    EVERYTHING,
    MAX_WORDS,
    ME,
    PRONOUNS,
    Command,
    Descriptors,
    Fault,
    LineFails,
    Memory,
    ParserReply,
    Reading,
    tokenise,
)
from textagent_gym.envs.textworld.world.state import DIRECTION_WORDS, PLAYER, GameMap, World


class Parser:
    """Reads lines in one game.

    Args:
        game_map: The game's things.
    """

    def __init__(self, game_map: GameMap) -> None:
        self._game_map = game_map
        self.memory = Memory()

    def notice(self, thing: str) -> None:
        """Make `thing` what "it" means."""
        if thing != PLAYER:
            self.memory = self.memory._replace(pronouns=(("it", thing),))

    def recall(self, command: Command, partial: tuple[str, ...] | None) -> None:
        """Remember a plain command as `read` would have."""
        pronouns = self.memory.pronouns
        if command.nouns:
            pronouns = (("it", command.nouns[0]),)
        self.memory = Memory(pronouns, None, self.memory.partial if partial is None else partial)

    def read(self, text: str, world: World) -> Command | str:
        """Return the command that a line means, or what the parser says instead."""
        words = tokenise(text)
        question = self.memory.question
        self.memory = self.memory._replace(question=None)
        if question is not None:
            if question.takes_all is False and dictionary_form(words[0]) in ALL:
                self.memory = self.memory._replace(question=question)
                return "Sorry, you can only have one item here. Which exactly?"
            if dictionary_form(words[0]) not in self._game_map.grammar.verbs:
                place = question.place
                words = (question.words[:place] + words + question.words[place:])[:MAX_WORDS]
        attempt = _Attempt(self._game_map, world, words, self.memory)
        if question is not None:
            attempt.strategy, attempt.alternatives = question.strategy, list(question.alternatives)
        try:
            command = attempt.command()
        except ParserReply as answer:
            self.memory = Memory(tuple(attempt.pronouns.items()), answer.question, attempt.partial)
            return answer.text
        self.memory = Memory(tuple(attempt.pronouns.items()), None, attempt.partial)
        return command


class _Attempt(NounReader):
    """One line being read."""

    # The line as a whole.

    def command(self) -> Command:
        """Return the command, or raise a `ParserReply`."""
        verb, verbs = self.words[0], self.game_map.grammar.verbs
        if verb not in verbs:
            direction = self._direction()
            if direction is None:
                raise self._complaint(Fault.VERB)
            return direction
        self.best = Fault.STUCK
        for line in verbs[verb]:
            reading = Reading(line)
            try:
                return self._try(reading)
            except LineFails:
                self.best = max(self.best, reading.fault)
                if reading.all_rule == 2 and reading.fault == Fault.NOTHING:
                    break
        raise self._complaint(self.best)

    def _direction(self) -> Command | None:
        """Return a direction alone means going there."""
        first = [name for name in DIRECTIONS if self.words[0] in DIRECTION_WORDS[name]]
        if len(first) != 1:
            return None
        count = 0
        while count < len(self.words) and self.words[count] in DIRECTION_WORDS[first[0]]:
            count += 1
        if count < len(self.words):
            understood = " ".join((self.words[0], *self.partial))
            raise ParserReply(f"I only understood you as far as wanting to (go) {understood}.")
        return Command("go", (first[0],))

    def _try(self, reading: Reading) -> Command:
        line = reading.line
        self._look_ahead(reading)
        nouns = [token for token in line.tokens if token in SLOTS]
        if line.action == "take" and nouns == ["multi"]:
            reading.all_rule = 1
        reading.inferred_from = 0
        ends_in_word = bool(line.tokens) and line.tokens[-1] not in SLOTS
        if ends_in_word and (len(self.words) == 1 or self.words[-1] not in line.tokens[-1]):
            raise LineFails
        self.at = 1
        for place, token in enumerate(line.tokens, start=1):
            self.place = place
            self.lookahead_ends = place == len(line.tokens)
            if token in SLOTS:
                self._slot(str(token), reading)
            else:
                self._fixed_word(token, reading)
        if self.at < len(self.words):
            self.partial = tuple(self._spoken_pattern(reading, 1))
            reading.fault = Fault.UP_TO
            raise LineFails
        return self._finish(reading)

    def _finish(self, reading: Reading) -> Command:
        parameters = reading.parameters
        things: tuple[str, ...] | None = None
        if None in parameters:
            other = next((value for value in parameters if value is not None), None)
            self._revise(reading, other)
            things = tuple(reading.things)
        elif len(parameters) == 2 and parameters[0] and parameters[1]:
            first, second = parameters
            same = reading.context == "multiexcept" and first == second
            apart = (
                reading.context == "multiinside"
                and self.world.holder.get(str(first)) != second
                and self.world.holder.get(str(second)) != first
            )
            if same or apart:
                self.barren = (reading.line.action, second)
                raise self._complaint(Fault.NOTHING)
        if reading.all_rule == 2 and parameters[:1] == [PLAYER]:
            raise self._complaint(Fault.NOTHING)
        preface = ""
        if reading.inferred_from:
            preface = f"({' '.join(self._spoken_pattern(reading, reading.inferred_from))})\n"
        ordered = parameters[::-1] if reading.line.is_reversed and len(parameters) == 2 else parameters
        if ordered and ordered[0]:
            self.notice(ordered[0])
        return Command(reading.line.action, tuple(value or "" for value in ordered), things, preface)

    def _revise(self, reading: Reading, other: str | None) -> None:
        """Drop from the list of things those that the second noun rules out (`ReviseMulti`)."""
        if reading.context == "multiexcept":
            reading.things = [thing for thing in reading.things if thing != other]
        elif reading.context == "multiinside":
            reading.things = [thing for thing in reading.things if self.world.holder.get(thing) == other]
        if not reading.things:
            reading.fault = Fault.NOTHING
            self.barren = (reading.line.action, other)
            raise LineFails

    # Tokens.

    def _look_ahead(self, reading: Reading) -> None:
        """Find the second noun before the first is read, where the first depends on it (Letter F)."""
        self.advance = None
        tokens = reading.line.tokens
        if not tokens or tokens[0] not in ("multiexcept", "multiinside") or len(tokens) < 3:
            return
        prepositions, count = tokens[1], len(self.words)
        self.at = 1
        word = self._next_preposition(count)
        if self.at >= count:
            return
        while word not in prepositions:
            word = self._next_preposition(count - 1)
            if word not in self.game_map.grammar.prepositions:
                raise LineFails
        if self.at >= count:
            return
        self.place = 2
        descriptors = self._descriptors(plurals=True, reading=reading)
        found = self._candidates(descriptors, "noun", reading, held_first=False, asks=False, parameters=[""])
        if isinstance(found, str):
            self.advance = found
        reading.fault = Fault.STUCK

    def _next_preposition(self, stop: int) -> str:
        """Return the next word that is a preposition, or the last one read before place `stop`."""
        prepositions = self.game_map.grammar.prepositions
        while True:
            word = self.words[self.at] if self.at < len(self.words) else ""
            self.at += 1
            if self.at >= stop or word in prepositions:
                return word

    def _fixed_word(self, alternatives: str | tuple[str, ...], reading: Reading) -> None:
        if self.at >= len(self.words):
            wanted = sum(token in SLOTS for token in reading.line.tokens)
            if not reading.inferred_from and len(reading.parameters) < wanted:
                reading.inferred_from = self.place
            if not reading.inferred_from:
                raise LineFails
            reading.pattern[self.place] = f"'{alternatives[0]}"
            return
        word = self.words[self.at]
        self.at += 1
        reading.pattern[self.place] = f"'{word}"
        if word not in alternatives:
            raise LineFails

    def _slot(self, slot: str, reading: Reading) -> None:
        if slot == "topic":
            self._topic(reading)
            return
        value = self._noun_phrase(slot, reading)
        reading.parameters.append(value)
        reading.pattern[self.place] = "those things" if value is None else value

    def _topic(self, reading: Reading) -> None:
        tokens = reading.line.tokens
        following = tokens[self.place] if self.place < len(tokens) else ()
        start = self.at
        while self.at < len(self.words) and self.words[self.at] not in following:
            self.at += 1
        if self.at == start:
            raise LineFails
        speaks = reading.line.action in ("ask", "answer", "tell")
        if speaks:
            reading.parameters.append("topic")
            reading.pattern[self.place] = "that"
        elif following and self.at == len(self.words):
            raise LineFails

    def _noun_phrase(self, slot: str, reading: Reading) -> str | None:
        """Return one thing, or None for a list of things in `reading.things` (`ParseToken`)."""
        many, include, single, infers = False, True, "", True
        while True:
            listed = len(reading.things)
            found, descriptors, connective = self._one_phrase(slot, reading, infers)
            if many or found is True:
                self._gather(found, listed if many else 0, reading, include)
                many = True
            else:
                single = str(found)
            if not connective:
                break
            include = include if connective == "and" else not include
            if not many:
                reading.things, many = [single], True
            infers = False
            reading.inferred_from = 0
        if many:
            reading.context = slot
            return None
        if descriptors.indefinite and descriptors.plural and slot in ("multiexcept", "multiinside"):
            reading.context = slot
        return single

    def _gather(self, found: str | bool, listed: int, reading: Reading, include: bool) -> None:
        """Add what a phrase means to the list of things, or take it out; the list held `listed` things before."""
        if found is True:
            fresh, reading.things = reading.things[listed:], reading.things[:listed]
        else:
            fresh = [str(found)]
        for thing in fresh:
            if include and thing not in reading.things:
                reading.things.append(thing)
            elif not include and thing in reading.things:
                reading.things.remove(thing)

    def _one_phrase(self, slot: str, reading: Reading, infers: bool) -> tuple[str | bool, Descriptors, str]:
        """Return one phrase of a list: what it means, how it was described, and the word that leads to the next, or ""."""
        self._read_pronoun(reading)
        start, plurals, earlier_wanted = self.at, True, 0
        while True:
            descriptors = self._descriptors(plurals=plurals, reading=reading)
            found = self._resolve(descriptors, slot, reading, start, infers)
            if found is not None:
                connective = self._connective(slot, reading)
                if connective is not None and not self._lacks(found, connective, descriptors, reading):
                    return found, descriptors, connective
            if plurals and descriptors.guessed:
                earlier_wanted, plurals = descriptors.wanted, False
                self.at = start
                continue
            if (descriptors.wanted > 0 or earlier_wanted > 0) and not self.multiple_seen:
                reading.fault = Fault.MULTIPLE
            raise LineFails

    def _connective(self, slot: str, reading: Reading) -> str | None:
        """Return the "and" or "but" that is read next; "" where there is none, None where there must not be one."""
        if self.at >= len(self.words) or self.words[self.at] not in CONNECTIVES:
            return ""
        self.at += 1
        if slot in MULTIPLE:
            return self.words[self.at - 1]
        if self.multiple_seen:
            return ""
        reading.fault = Fault.MULTIPLE
        return None

    def _lacks(self, found: str | bool, connective: str, descriptors: Descriptors, reading: Reading) -> bool:
        """Return whether several were wanted and there is one."""
        if found is True or connective or reading.things or not 1 < descriptors.wanted < EVERYTHING:
            return False
        self.had = 1
        reading.fault = Fault.TOO_FEW
        return True

    def _resolve(
        self, descriptors: Descriptors, slot: str, reading: Reading, start: int, infers: bool
    ) -> str | bool | None:
        """Return one thing, True for a list, or None with the fault noted.

        Words that were not descriptors are read again.
        """
        while True:
            found = self._candidates(descriptors, slot, reading, held_first=slot == "held", infers=infers)
            if slot != "held":
                if descriptors.wanted == EVERYTHING and not found and not self.num_matched:
                    found = True
                if slot in MULTIPLE and not self.multiple_seen:
                    if self.best == Fault.MULTIPLE:
                        self.best = Fault.STUCK
                    self.multiple_seen = True
            again = descriptors.ambiguous and (not found or (slot != "held" and found is not True and not self.length))
            if again:
                descriptors.reset()
                self.at = start
                continue
            if not found:
                if reading.fault == Fault.MULTIPLE and self.multiple_seen and slot != "held":
                    reading.fault = Fault.STUCK
                reading.fault = self._cannot_see(reading)
                return None
            if slot == "creature" and found != PLAYER and found is not True:
                reading.fault = Fault.NOT_ANIMATE
                return None
            self.at = self.match_from + self.length
            return found

    def _read_pronoun(self, reading: Reading) -> None:
        self.pronoun = None
        if self.at >= len(self.words):
            return
        word = self.words[self.at]
        if word in PRONOUNS:
            meaning = self.pronouns.get(word)
            if meaning is None:
                if word == "her":  # may be the beginning of "her book"
                    self.pronoun = (word, None)
                    return
                self.pronoun_failed = (word, None)
                reading.fault = Fault.VAGUE
                raise LineFails
            self.pronoun = (word, meaning)
        elif word in ME:
            self.pronoun = (word, PLAYER)

    # Messages.

    def _cannot_see(self, reading: Reading) -> Fault:
        fault = Fault.CANNOT_SEE
        index = self.at - 1
        if self.pronoun is not None and index < len(self.words) and self.words[index] == self.pronoun[0]:
            nothing_follows = self.at >= len(self.words)
            if nothing_follows or self.place < len(reading.line.tokens):
                if reading.line.tokens[self.place - 1] in ("direction", "switched"):
                    fault = Fault.NOT_IN_CONTEXT
                else:
                    self.pronoun_failed = self.pronoun
                    fault = Fault.GONE
        return max(fault, reading.fault)

    def _complaint(self, fault: Fault) -> ParserReply:
        if fault == Fault.UP_TO:
            return ParserReply(f"I only understood you as far as wanting to {self._so_far(self.partial)}.")
        if fault == Fault.VAGUE or (fault == Fault.GONE and self.pronoun_failed and self.pronoun_failed[1] is None):
            word = self.pronoun_failed[0] if self.pronoun_failed else "it"
            return ParserReply(f"I'm not sure what '{word}' refers to.")
        if fault == Fault.GONE and self.pronoun_failed and self.pronoun_failed[1]:
            word, _ = self.pronoun_failed
            return ParserReply(f"You can't see '{word}' (nothing) at the moment.")
        if fault == Fault.TOO_FEW:
            if self.had == 0:
                return ParserReply("None of those is available.")
            be = "is" if self.had == 1 else "are"
            return ParserReply(f"Only {NUMBER_WORDS[self.had]} of those {be} available.")
        if fault == Fault.NOTHING:
            return ParserReply(self._nothing())
        return ParserReply(_MESSAGES[fault])

    def _nothing(self) -> str:
        action, second = self.barren
        game_map = self.game_map
        if action == "remove" and second:
            if second == PLAYER:
                return "You seem to belong to yourself."
            if second not in game_map.containers and second not in game_map.supporters:
                return "That can't contain things."
            if second in game_map.containers and self.world.status[second] != "open":
                return f"{game_map.The(second)} isn't open."
            if not self.world.inside(second):
                return f"{game_map.The(second)} is empty."
        return "There are none at all available!"


_MESSAGES = {
    Fault.STUCK: "I didn't understand that sentence.",
    Fault.NOT_ANIMATE: "You can only do that to something animate.",
    Fault.CANNOT_SEE: "You can't see any such thing.",
    Fault.MULTIPLE: "You can't use multiple objects with that verb.",
    Fault.VERB: "That's not a verb I recognise.",
    Fault.NOT_IN_CONTEXT: "That noun did not make sense in this context.",
}
"""Answer of the parser to a fault that needs no details."""
