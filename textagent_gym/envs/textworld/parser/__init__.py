"""The parser of typed commands: grammar, tokens, noun phrases."""
