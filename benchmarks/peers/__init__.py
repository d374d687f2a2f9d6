"""Scripts that run other people's trainers, each in an environment of its own."""
