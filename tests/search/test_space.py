"""Parameters and spaces."""

import itertools
import re

import numpy as np
import pytest

from silicut.records import ConfigError
from silicut.search import Parameter, Space

SPACE = Space(
    (Parameter("a", (1, 2, 4)), Parameter("b", ("x", "y")), Parameter("fixed", (7,)), Parameter("c", (0.5, 1, 9, 3)))
)


def test_every_point_is_drawn_about_equally_often():
    rng = np.random.default_rng(0)
    drawn = [SPACE.key(SPACE.random(rng)) for _ in range(4800)]
    counts = {point: drawn.count(point) for point in itertools.product(*(p.levels for p in SPACE.parameters))}
    assert len(counts) == SPACE.size == 24
    assert sum(counts.values()) == 4800
    assert all(140 < n < 265 for n in counts.values())  # 200 expected, five standard deviations


def test_neighbours_differ_by_what_they_say_and_most_by_one_step():
    rng, n_steps, n_jumps, n_pairs = np.random.default_rng(1), 0, 0, 0
    for _ in range(300):
        point = SPACE.random(rng)
        near = SPACE.neighbours(point, rng, 5)
        assert len({SPACE.key(other) for _, other in near}) == len(near) <= 5
        for attribute, other in near:
            SPACE.check(other)
            moved = {p.name: abs(p.position[point[p.name]] - p.position[other[p.name]]) for p in SPACE.parameters}
            moved = {name: by for name, by in moved.items() if by}
            assert attribute == " ".join(moved)
            n_steps += list(moved.values()) == [1]
            n_jumps += len(moved) == 1 and max(moved.values()) > 1
            n_pairs += list(moved.values()) == [1, 1]
    assert n_steps > n_pairs > n_jumps > 0


def test_every_point_can_be_reached_from_every_other():
    rng = np.random.default_rng(2)
    reached, edge = set(), [SPACE.random(rng)]
    while edge:
        point = edge.pop()
        if SPACE.key(point) not in reached:
            reached.add(SPACE.key(point))
            edge += [other for _, other in SPACE.neighbours(point, rng, 40)]
    assert len(reached) == SPACE.size


def test_places_and_points_are_inverse():
    rng = np.random.default_rng(3)
    for _ in range(50):
        point = SPACE.random(rng)
        assert SPACE.at(SPACE.places(point)) == point


def test_a_space_of_one_point_has_no_neighbours():
    space = Space((Parameter("only", (3,)),))
    rng = np.random.default_rng(0)
    assert space.neighbours(space.start(rng), rng, 10) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parameter("", (1,)), "parameter.name must be a non-empty text, not ''"),
        (lambda: Parameter("a", ()), "parameter 'a': levels must be at least one and all distinct, not ()"),
        (lambda: Parameter("a", (1, 1.0)), "parameter 'a': levels must be at least one and all distinct, not (1, 1.0)"),
        (lambda: Space(()), "parameters must be at least one, with distinct names, not none"),
        (
            lambda: Space((Parameter("a", (1,)), Parameter("a", (2,)))),
            "parameters must be at least one, with distinct names, not ['a']",
        ),
        (
            lambda: SPACE.check({"a": 3, "b": "x", "fixed": 7, "d": 1}),
            "d is no parameter of the space; c is missing; a must be one of [1, 2, 4], not 3",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        make()
