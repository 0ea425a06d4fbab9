"""The arithmetic of a figure: turns, ratios, goals, books."""

from __future__ import annotations

import pytest

from bench.figures.counted import books, others
from bench.load import percentile
from tests.bench.made import made


def test_the_value_of_a_comparison_is_the_middle_ratio_and_not_the_ratio_of_the_middles() -> None:
    figure = made([10, 30, 20], [10, 10, 20])
    assert figure.ratios == [1, 3, 1]
    assert (figure.value, figure.unit, figure.values) == (1, "×", [1, 3, 1])


def test_the_value_of_one_thing_alone_is_its_middle_turn() -> None:
    figure = made([7, 3, 100])
    assert (figure.value, figure.unit, figure.values) == (7, "things/s", [7, 3, 100])


@pytest.mark.parametrize(
    ("higher_is_better", "goal", "reached"),
    [(True, 7, True), (True, 7.1, False), (False, 7, True), (False, 6.9, False), (True, None, True)],
)
def test_a_goal_is_reached_from_the_side_that_it_looks(
    higher_is_better: bool, goal: float | None, reached: bool
) -> None:
    assert made([7], higher_is_better=higher_is_better).reaches(goal) is reached


def test_a_figure_is_wrong_when_one_of_its_checks_is() -> None:
    assert not made([1], checks=["5 entries: right"]).is_wrong
    assert made([1], checks=["fine", "5 entries: WRONG"]).is_wrong


@pytest.mark.parametrize(
    ("acknowledged", "unanswered", "written", "is_right"),
    [
        (100, 0, 100, True),
        (100, 0, 99, False),  # one acknowledged and lost
        (100, 0, 101, False),  # one more than was asked for
        (100, 5, 100, True),
        (100, 5, 105, True),
        (100, 5, 106, False),
    ],
)
def test_books_hold_every_acknowledged_deduction_and_no_more_than_were_sent(
    acknowledged: int, unanswered: int, written: int, is_right: bool
) -> None:
    assert ("WRONG" not in books(acknowledged, unanswered, written)) is is_right


def test_an_answer_that_nobody_expected_is_wrong() -> None:
    assert "WRONG" not in others({})
    assert "WRONG" not in others({"503": 4}, frozenset({"503"}))
    assert others({"503": 4, "500": 1}, frozenset({"503"})) == "other answers: 500: 1, 503: 4 WRONG"


def test_a_percentile_is_one_of_the_values() -> None:
    ordered = [float(value) for value in range(1, 201)]
    assert [percentile(ordered, part) for part in (0.5, 0.99, 1)] == [101, 199, 200]
    assert percentile([], 0.99) == 0
