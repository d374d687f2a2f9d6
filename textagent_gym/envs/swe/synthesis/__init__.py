"""Making of tasks: bugs by mutation, validated by running the tests."""
