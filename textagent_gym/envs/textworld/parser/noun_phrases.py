"""Resolution of noun phrases: the words of a noun, the things in reach that match, and the choice between several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from textagent_gym.envs.textworld.parser.grammar import DIRECTIONS, MULTIPLE, NUMBERS, SLOTS, Line, dictionary_form
from textagent_gym.envs.textworld.parser.tokens import (
    ALL,
    ARTICLES,
    CONNECTIVES,
    EVERYTHING,
    LIT,
    ME,
    MINE,
    OWNED,
    SPOKEN,
    THERE,
    Descriptors,
    Fault,
    Memory,
    ParserReply,
    Question,
    Reading,
)
from textagent_gym.envs.textworld.world.state import DIRECTION_WORDS, PLAYER, GameMap, World


class NounReader:
    """Reads nouns at a place in a line.

    Args:
        game_map: The game's things.
        world: World of the things.
        words: The line.
        memory: Memory of earlier lines.
    """

    def __init__(self, game_map: GameMap, world: World, words: tuple[str, ...], memory: Memory) -> None:
        self.game_map = game_map
        self.world = world
        self.typed = words
        self.words = tuple(map(dictionary_form, words))
        self.text = " ".join(words)
        self.pronouns = dict(memory.pronouns)
        self.partial = memory.partial
        self.at = 0  # index of the next word
        self.place = 0  # number of the token that is being read, from 1; while looking ahead, of the one before
        self.lookahead_ends = False
        self.pronoun: tuple[str, str | None] | None = None
        self.pronoun_failed: tuple[str, str | None] | None = None
        self.strategy = 0  # how candidates are weighed; chosen once a line (`ChooseObjects`)
        self.alternatives: list[str] = []
        self.multiple_seen = False
        self.advance: str | None = None
        self.best = Fault.STUCK
        self.barren: tuple[str, str | None] = ("", None)  # action and second noun of a list that came out empty
        self.had = 0  # how many there were of several wanted

    def _descriptors(self, *, plurals: bool, reading: Reading) -> Descriptors:
        """Read articles, possessives, "all" and numbers (`Descriptors`)."""
        found = Descriptors()
        words, count = self.words, len(self.words)
        while self.at < count:
            word = words[self.at]
            number = self._number(self.at) if plurals and self.at + 1 < count else 0
            if word in ALL:
                found.indefinite = found.plural = True
                found.wanted = EVERYTHING
                if reading.all_rule == 1:
                    reading.all_rule = 2
            elif number > 1:
                found.indefinite = found.plural = found.guessed = True
                found.wanted, found.number_at = number, self.at
            elif number == 1 or word in ("another", "other"):
                found.indefinite = True
            elif not self._describes(word, found):
                break
            self.at += 1
            if self.at < count and words[self.at] == "of":
                self.at += 1
        return found

    def _describes(self, word: str, found: Descriptors) -> bool:
        """Return whether `word` is an article or a possessive; what it says goes into `found`."""
        if not (word in ARTICLES or word in MINE or word in THERE or word in OWNED or word in LIT):
            return False
        found.indefinite = found.indefinite or word != "the"
        found.ambiguous = True
        found.mine = found.mine or word in MINE
        found.there = found.there or word in THERE
        found.lit = found.lit or word in ("lit", "lighted")
        if word in OWNED:
            found.owner = self.pronouns.get(OWNED[word], "nobody")
        return True

    def _number(self, index: int) -> int:
        word = self.words[index]
        if word in NUMBERS:
            return NUMBERS[word]
        if word.isdigit() and word.isascii():
            return min(int(word), 10_000) if len(word) <= 4 else 10_000
        return 0

    # Nouns.

    def _candidates(
        self,
        descriptors: Descriptors,
        slot: str,
        reading: Reading,
        *,
        held_first: bool,
        infers: bool = True,
        asks: bool = True,
        parameters: list[str | None] | None = None,
    ) -> str | bool | None:
        """Return the meaning of the next words: a thing, True for a list, None for nothing (`NounDomain`)."""
        reading_parameters = reading.parameters if parameters is None else parameters
        matches = self._matching(descriptors, slot, held_first)
        self.at = self.match_from + self.length
        self.num_matched = len(matches)
        if not matches:
            self.at += 1
            return None
        typed = self.match_from < len(self.words)
        if typed and len(matches) == 1:
            return matches[0]
        if typed and self.lookahead_ends and self.at < len(self.words) and self.words[self.at] not in CONNECTIVES:
            return None
        chosen: str | bool | None
        if len(matches) == 1:
            chosen = matches[0]
            if descriptors.indefinite and descriptors.plural and self._excluded(matches[0], reading):
                return None
        else:
            chosen, matches, sole = self._adjudicate(matches, descriptors, slot, reading, reading_parameters)
            infers = infers and not sole
        if isinstance(chosen, str) and chosen and infers:
            reading.inferred_from = reading.inferred_from or self.place
            reading.pattern[self.place] = chosen
        if chosen != "":
            return chosen
        if not asks:
            return matches[0]
        raise self._ask_which(matches, slot) if typed else self._ask_what(slot, reading)

    def _ask_which(self, matches: list[str], slot: str) -> ParserReply:
        named = [self.game_map.the(match) for match in matches]
        text = f"Which do you mean, {', '.join(named[:-1])} or {named[-1]}?"
        return ParserReply(text, self._question(self.typed, self.match_from, slot in MULTIPLE))

    def _ask_what(self, slot: str, reading: Reading) -> ParserReply:
        """Ask for a noun that is missing; what was inferred so far counts as typed."""
        said = self._so_far(self._spoken_pattern(reading, 1, self.place))
        glued = list(self.typed)
        if reading.inferred_from:
            for place in range(reading.inferred_from, self.place):
                part = reading.pattern.get(place)
                if part is None:
                    continue
                if part.startswith("'"):
                    glued.append(part[1:])
                elif part in self.game_map.names or part in DIRECTIONS:
                    self.notice(part)
                    if part in self.pronouns.values():
                        glued.append("it")
        text = f"{'Whom' if slot == 'creature' else 'What'} do you want to {said}?"
        return ParserReply(text, self._question(tuple(glued), len(glued), None))

    def _question(self, words: tuple[str, ...], place: int, takes_all: bool | None) -> Question:
        return Question(words, place, takes_all, self.strategy, tuple(self.alternatives))

    def _matching(self, descriptors: Descriptors, slot: str, held_first: bool) -> list[str]:
        """Return everything in reach that matches the next words best; sets `match_from` and `length`."""
        self.match_from, self.length = self.at, 0
        matches: list[str] = []
        for thing in self._scope(slot, held_first, descriptors):
            if (slot == "direction" and thing not in DIRECTIONS) or slot == "switched":
                continue
            quality = self._quality(thing, self.match_from, descriptors)
            number_at = descriptors.number_at
            if quality is not None and quality > 0 and number_at and self.match_from != number_at:
                longer = self._quality(thing, number_at, descriptors)
                if longer is not None and longer > 0:
                    self._add(thing, quality, matches)
                    quality, self.match_from = longer, number_at
                    descriptors.reset()  # the number was part of a name
            if quality is not None:
                self._add(thing, quality, matches)
        return matches

    def _add(self, thing: str, quality: int, matches: list[str]) -> None:
        if quality > self.length:
            self.length = quality
            matches.clear()
        if quality == self.length and thing not in matches:
            matches.append(thing)

    def _quality(self, thing: str, start: int, descriptors: Descriptors) -> int | None:
        """Return the number of words from `start` on that name the thing; None if they do not."""
        words, count = self.words, len(self.words)
        if start >= count:
            return 0
        end = start
        if thing in DIRECTIONS:
            while end < count and words[end] in DIRECTION_WORDS[thing]:
                end += 1
        elif thing != PLAYER:
            phrases, singles = self.game_map.vocabulary[thing]
            singles |= self.world.property_words(thing)
            while end < count:
                phrase = next((p for p in phrases if words[end : end + len(p)] == p), None)
                if phrase is None and words[end] not in singles:
                    break
                end += len(phrase) if phrase else 1
        if end > start:
            return end - start
        word = words[start]
        if (word in ME and thing == PLAYER) or self.pronouns.get(word) == thing:
            return 1
        return 0 if descriptors.indefinite else None

    def _scope(self, slot: str, held_first: bool, descriptors: Descriptors) -> list[str]:
        """Return everything in reach, in the order in which Inform looks (`SearchScope`)."""
        world, room = self.world, self.world.room
        found: list[str] = []
        if slot == "multiinside" and self.advance is not None:
            if self.advance == PLAYER or world.shows_contents(self.advance, self.game_map):
                self._within(self.advance, found, skip="")
            return found
        if slot != "creature" and not descriptors.indefinite and not held_first:
            found.extend(DIRECTIONS)
        if held_first:
            self._within(PLAYER, found, skip="")
            self._within(room, found, skip="")
        else:
            self._within(room, found, skip=PLAYER)
            self._within(PLAYER, found, skip="")
        return found

    def _within(self, holder: str, found: list[str], skip: str) -> None:
        for thing in self.world.inside(holder):
            found.append(thing)
            if thing != skip and (thing == PLAYER or self.world.shows_contents(thing, self.game_map)):
                self._within(thing, found, skip)

    # Choosing.

    def _adjudicate(
        self,
        matches: list[str],
        descriptors: Descriptors,
        slot: str,
        reading: Reading,
        parameters: list[str | None],
    ) -> tuple[str | bool | None, list[str], bool]:
        """Return one of several, "" to ask, True for a list, None for a fault; the matches left.

        Whether one kind is left.
        """
        good = [self._is_good(match, slot) for match in matches]
        plural = descriptors.indefinite and descriptors.plural
        if sum(good) == 1:
            last = matches[good.index(True)]
            if not (plural and slot in MULTIPLE and self._excluded(last, reading)):
                return last, matches, False
        if slot == "creature" and not any(good):
            return matches[0], matches, False
        right = dict(zip(matches, good, strict=True))
        matches = [match for match in matches if self._fits(match, descriptors)]
        self.num_matched = len(matches)
        if not matches:
            return None, matches, False
        scores = {
            match: 1000 * (right[match] + self._liking(match, descriptors, reading, parameters))
            + self._nearness(match, reading.line.action)
            for match in matches
        }
        best = max(scores[match] for match in matches)
        leaders = [match for match in matches if scores[match] == best]
        if not descriptors.indefinite and len(leaders) == 1:
            return leaders[0], matches, False
        if plural:
            return self._all_of(matches, scores, descriptors, slot, reading), matches, False
        if not descriptors.indefinite and len(leaders) > 1:
            return "", matches, False
        return leaders[0], matches, len(matches) == 1

    def _nearness(self, thing: str, action: str) -> int:
        """Return a sort key: held things first, then those in the room; for taking, the other way round (`ScoreMatchL`)."""
        score = 10 if thing == PLAYER else 115
        place = self.world.holder.get(thing)
        takes = action in ("take", "remove")
        if place == PLAYER:
            return score + (40 if takes else 60)
        if place == self.world.room:
            return score + (60 if takes else 40)
        return score + (20 if place is not None else 0)

    def _is_good(self, thing: str, slot: str) -> bool:
        holder = self.world.holder.get(thing)
        if slot in ("held", "multiheld"):
            return holder == PLAYER
        if slot == "multi":
            return thing not in DIRECTIONS and thing != PLAYER
        if slot == "multiexcept":
            return self.advance is None or thing != self.advance
        if slot == "multiinside":
            return holder != PLAYER if self.advance is None else holder == self.advance
        return slot == "creature" and thing == PLAYER

    def _fits(self, thing: str, descriptors: Descriptors) -> bool:
        holder = self.world.holder.get(thing)
        return (
            (not descriptors.mine or holder == PLAYER)
            and (not descriptors.there or holder == self.world.room)
            and not descriptors.lit
            and (descriptors.owner is None or holder == descriptors.owner)
        )

    def _all_of(
        self, matches: list[str], scores: dict[str, int], descriptors: Descriptors, slot: str, reading: Reading
    ) -> bool | None:
        if slot not in MULTIPLE:
            reading.fault = Fault.MULTIPLE
            return None
        count = 0
        for match in sorted(matches, key=lambda match: -scores[match]):
            if count >= descriptors.wanted:
                break
            if not self._excluded(match, reading) and self._is_meant(match, slot, reading):
                count += 1
                reading.things.append(match)
        if count < descriptors.wanted < EVERYTHING:
            reading.fault = Fault.TOO_FEW
            self.had = count
            return None
        reading.context = slot
        return True

    def _is_meant(self, thing: str, slot: str, reading: Reading) -> bool:
        holder = self.world.holder.get(thing)
        if slot in ("multiheld", "multiexcept") and holder != PLAYER:
            return False
        if reading.line.action in ("take", "remove") and holder == PLAYER:
            return False
        return thing != PLAYER

    def _excluded(self, thing: str, reading: Reading) -> bool:
        """Return whether "all" leaves it out by a rule of its own (`deciding whether all includes`)."""
        action = reading.line.action
        if action in ("take", "take off", "remove"):
            return thing == PLAYER or thing in self.game_map.fixed or self.world.holder.get(thing) == PLAYER
        return action in ("drop", "throw", "insert", "put") and thing == PLAYER

    def _liking(self, thing: str, descriptors: Descriptors, reading: Reading, parameters: list[str | None]) -> int:
        """Return how likely the player means this thing (`ChooseObjects`): 2, or more for a name typed in full."""
        line = reading.line
        if self.strategy == 0:
            self.strategy = 1 if self._find_alternatives(reading, descriptors) else 2
        if parameters:
            return self._likelihood(parameters[0] or "", thing, line)
        if self.strategy == 1:
            return max((self._likelihood(thing, other, line) for other in self.alternatives), default=0)
        return self._likelihood(thing, self.advance or "", line)

    def _find_alternatives(self, reading: Reading, descriptors: Descriptors) -> bool:
        """Return whether a second noun follows; what it may be goes into `alternatives`."""
        following = next((token for token in reading.line.tokens[self.place :] if token in SLOTS), "end of line")
        if following in ("topic", "direction", "switched"):
            return False
        at, saved = self.at, (self.match_from, self.length)
        while self.at < len(self.words):
            word = self.words[self.at]
            if word in self.game_map.grammar.prepositions or word in ALL:
                self.at += 1
                continue
            self._descriptors(plurals=True, reading=Reading(reading.line))
            self.alternatives = self._matching(replace(descriptors), str(following), held_first=True)
            self.at, (self.match_from, self.length) = at, saved
            return True
        self.at = at
        return False

    def _likelihood(self, noun: str, second: str, line: Line) -> int:
        """Nobody takes what he has; a thing is likely to be meant where the line holds its whole printed name."""
        if line.is_reversed:
            noun, second = second, noun
        if line.action == "take" and self.world.holder.get(noun) == PLAYER:
            return 0
        kitchen = self.game_map.kitchen
        if (
            kitchen is not None
            and noun not in ("", *DIRECTIONS)
            and self.world.holder.get(second) == PLAYER
            and kitchen.is_unlikely(line.action, second)
        ):
            return 0
        named = [self.game_map.name(entity) in self.text for entity in (noun, second) if entity]
        if not named or not all(named):
            return 2
        return 4 if len(named) == 2 else 3

    def notice(self, thing: str) -> None:
        """Make `thing` what "it" means."""
        if thing != PLAYER and thing != "topic":
            self.pronouns["it"] = thing

    def _so_far(self, parts: Iterable[str]) -> str:
        """Return the verb and the parts of a line that were understood, as the parser says them."""
        return " ".join([SPOKEN.get(self.words[0], self.words[0]), *parts])

    def _spoken_pattern(self, reading: Reading, start: int, end: int | None = None) -> list[str]:
        """Return the parts of a reading from place `start` on, as the parser says them."""
        spoken = []
        for place in sorted(reading.pattern):
            if place < start or (end is not None and place >= end):
                continue
            part = reading.pattern[place]
            if part.startswith("'"):
                spoken.append(part[1:])
            elif part in ("those things", "that") or part in DIRECTIONS:
                spoken.append(part)
            else:
                spoken.append(self.game_map.the(part))
        return spoken
