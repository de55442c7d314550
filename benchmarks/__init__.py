"""Races against TRL and transformers, and against what the machine can do; see ``docs/performance.md``."""
