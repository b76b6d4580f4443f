"""Policies: transformer, tokenizer, chat template, value head and checkpoints."""
