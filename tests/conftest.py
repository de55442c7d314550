"""Settings of all tests."""

import gc

from hypothesis import settings

# how long an example takes says how busy the machine is
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Modules stay: a study looks for garbage between its stages, and need not search all of PyTorch each time."""
    gc.collect()
    gc.freeze()
