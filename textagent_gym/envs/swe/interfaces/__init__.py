"""Interfaces of an agent to a repository: tools, shell commands, or a choice among edits."""
