"""Repositories in memory: trees of files, patches, edits and mutations."""
