"""A few points of the kill matrix, one of each kind; ``make kill-matrix`` tries them all."""

import pytest

from faults.kill_matrix import Matrix
from faults.lives import purged, refreshed
from faults.points import Point

pytestmark = pytest.mark.cluster

# What to kill at: moment, kind of call, beginning of its object.
CHOSEN = (
    ("after", "POST", "jobs/assistant-train-"),
    ("before", "S3 write_if_absent", "calibrations/"),
    ("after", "S3 write", "portfolios/"),
    ("after", "S3 write_if_absent", "records/"),
    ("after", "PATCH", "inferenceservices/"),
    ("before", "DELETE", "inferenceservices/"),
)


CHOSEN_OF_A_PURGE = (
    ("after", "PATCH", "jobs/"),
    ("before", "S3 delete", "calibrations/"),
)


def chosen(points: list[Point], kinds: tuple[tuple[str, str, str], ...]) -> list[Point]:
    """Return one point for each kind that is chosen."""
    return [
        next(
            point
            for point in points
            if (point.moment, point.call.kind) == (moment, kind)
            and point.call.object.startswith(start)
        )
        for moment, kind, start in kinds
    ]


@pytest.mark.parametrize(
    ("story", "kinds", "tag"),
    [(refreshed, CHOSEN, "life"), (purged, CHOSEN_OF_A_PURGE, "gone")],
    ids=["refreshed", "purged"],
)
def test_an_operator_killed_at_points_ends_as_if_it_had_not_been(place, story, kinds, tag):
    matrix = Matrix(place, tag=tag, story=story)
    points = chosen(matrix.uninterrupted(runs=1), kinds)
    verdicts = matrix.tried_together(tuple(points))
    assert [problem for verdict in verdicts for problem in verdict.problems] == []
    assert sorted(verdict.point for verdict in verdicts) == sorted(points)
