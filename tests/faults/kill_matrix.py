"""``make kill-matrix``: an operator killed at every external call it makes, and started again.

The points are those that uninterrupted runs of the same life meet: just before and just after the
first call of each kind on each object, every write to the API server and every request to S3. There
the operator ends without a word, as by SIGKILL, and is started again. What is left at the end must
be what is left without a kill: the same status, the same InferenceServices and route table, the
same objects in S3, and each Job created as often. A life takes a few points that lie far apart;
where it ends otherwise, each of them gets a life of its own.
Prints a line per point; the last one says how many passed. Exit code 1 when one did not.
"""

import argparse
import inspect
import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1])]

from faults.lab import STOPPING, Lab, end_tidily, lab
from faults.lives import EndState, Life, purged, refreshed
from faults.points import Point, recorded

_AT_ONCE = 6
_PER_LIFE = 6
_TRIES = 3
_SHOWN = 6


@dataclass
class Verdict:
    """How a point was passed, or why not."""

    point: Point
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems


class Matrix:
    """Lives in one lab, each in a namespace of its own with a name of the same length."""

    def __init__(
        self,
        lab: Lab,
        settings: dict[str, str] | None = None,
        tag: str = "life",
        story: Callable[[Life], None] = refreshed,
    ) -> None:
        self._lab, self._settings, self._tag, self._story = lab, settings or {}, tag, story
        self._numbers = itertools.count()
        self.expected = EndState()

    def uninterrupted(self, runs: int = 2) -> list[Point]:
        """Return the points that every one of a few uninterrupted runs meets.

        Raises:
            AssertionError: The runs did not end alike.
        """
        lives = [self._life() for _ in range(runs)]
        with ThreadPoolExecutor(runs) as pool:
            ends = list(pool.map(Life.lived, lives))
        self.expected = ends[0]
        assert set(self.expected.jobs.values()) == {1}, f"Jobs created: {self.expected.jobs}"
        for end in ends[1:]:
            problems = self.expected.differences(end)
            assert not problems, f"two uninterrupted runs differ: {problems[:_SHOWN]}"
        met = [recorded(self._lab.record_of(life.namespace)) for life in lives]
        common = set(met[0]).intersection(*met[1:])
        return [point for point in met[0] if point in common]

    def tried_together(self, points: tuple[Point, ...]) -> list[Verdict]:
        """Kill an operator at each of some points in one life, or in lives of their own."""
        if STOPPING.is_set():
            return [Verdict(point, problems=["interrupted"]) for point in points]
        began = time.monotonic()
        life = self._life(*points)
        try:
            problems = self.expected.differences(life.lived())
        except Exception as error:
            problems = [f"{type(error).__name__}: {error}"]
        missed = list(points) if problems else life.missed
        seconds = time.monotonic() - began
        passed = [Verdict(point, seconds) for point in points if point not in missed]
        return [*passed, *map(self.tried, missed)]

    def tried(self, point: Point) -> Verdict:
        """Kill an operator at one point of its life; say what came of it."""
        began, verdict = time.monotonic(), Verdict(point, problems=["interrupted"])
        for _ in range(_TRIES):
            if STOPPING.is_set():
                break
            life = self._life(point)
            try:
                problems = self.expected.differences(life.lived())
            except Exception as error:
                problems = [f"{type(error).__name__}: {error}"]
            verdict.problems = [f"{life.namespace}: {problem}" for problem in problems]
            if problems or not life.missed:
                break
            verdict.problems = ["the operator never came to this point"]
        verdict.seconds = time.monotonic() - began
        return verdict

    def _life(self, *points: Point) -> Life:
        namespace = f"{self._tag}-{next(self._numbers):04d}"
        settings = {k: v.format(namespace=namespace) for k, v in self._settings.items()}
        return Life(self._lab, namespace, points, settings, self._story)


def tried_all(
    matrix: Matrix, points: Sequence[Point], *, at_once: int, per_life: int
) -> list[Verdict]:
    """Try points side by side; print what becomes of each."""
    lives = math.ceil(len(points) / per_life)
    groups = [tuple(points[i::lives]) for i in range(lives)]
    done: list[Verdict] = []
    with ThreadPoolExecutor(at_once) as pool:
        for future in as_completed([pool.submit(matrix.tried_together, g) for g in groups]):
            for verdict in future.result():
                done.append(verdict)
                word = "ok  " if verdict.passed else "FAIL"
                seconds = f"{verdict.seconds:.0f} s"
                print(f"[{len(done)}/{len(points)}] {word} {verdict.point} ({seconds})")
                for problem in verdict.problems[:_SHOWN]:
                    print(f"         {problem}")
            sys.stdout.flush()
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="lives side by side (6)")
    parser.add_argument("--per-life", type=int, default=_PER_LIFE, help="kills in each life (6)")
    parser.add_argument("--only", default="", help="points whose name holds this text")
    parser.add_argument("--no-lease", action="store_true", help="leave out the Lease's own points")
    options = parser.parse_args()
    began = time.monotonic()
    end_tidily()
    with lab() as place:
        verdicts: list[Verdict] = []
        met: set[Point] = set()
        for tag, story in (("life", refreshed), ("gone", purged)):
            plain = Matrix(place, tag=tag, story=story)
            print(f"==> two uninterrupted lives: {inspect.getdoc(story)}", flush=True)
            points = [p for p in plain.uninterrupted() if options.only in str(p) and p not in met]
            met.update(points)
            print(f"==> {len(points)} points, {options.at_once} at once", flush=True)
            verdicts += tried_all(plain, points, at_once=options.at_once, per_life=options.per_life)
        if not options.no_lease:
            # Candidates for a Lease of their own each: who died still holds it for a while.
            settings = {"PALM_LEASE": "{namespace}/operator"}
            led = Matrix(place, settings, tag="lead")
            print("==> two uninterrupted lives with leader election", flush=True)
            points = [p for p in led.uninterrupted() if "leases" in p.call.object]
            points = [p for p in points if options.only in str(p)]
            verdicts += tried_all(led, points, at_once=options.at_once, per_life=1)
    passed = sum(verdict.passed for verdict in verdicts)
    for verdict in verdicts:
        if not verdict.passed:
            print(f"FAIL {verdict.point}: {verdict.problems[0]}")
    print(f"{threading.active_count()} threads; {time.monotonic() - began:.0f} s")
    print(f"kill matrix: {len(verdicts)} points, {passed} passed")
    return 0 if verdicts and passed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
