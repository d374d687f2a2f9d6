"""Policies: language models with their tokenizers, chat formats and adapters."""
