"""Prompt, parse, equivalence, scores: pure."""
