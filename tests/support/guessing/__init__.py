"""A domain in one folder and one record: guess a number between 1 and `state_space_size`."""

from textagent_gym.registration import Domain, register

GUESSING = Domain(
    name="Guessing",
    entry_point="tests.support.guessing.env:GuessingEnv",
    tiers={"Easy": {"state_space_size": 8}, "Hard": {"state_space_size": 64}},
    prepare="tests.support.guessing.env:prepare",
    references=("bisection",),
    compare="tests.support.guessing.env:compare",
)

register(GUESSING)
