"""The container tier: a fresh container of the task's image for each command."""
