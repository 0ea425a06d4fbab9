"""Pictures: well-formed, with axes that end on round numbers."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from bench.measure import Curve, Point
from bench.plot import places, plot, steps
from tests.bench.made import made


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (10.0, [0, 2, 4, 6, 8, 10]),
        (9_300.0, [0, 2_000, 4_000, 6_000, 8_000, 10_000]),
        (0.7, [0, 0.2, 0.4, 0.6, 0.8]),
        (0.0, [0, 0.2]),
    ],
)
def test_an_axis_has_round_numbers_and_reaches_the_highest(highest: float, ticks: list[float]) -> None:
    assert steps(highest) == pytest.approx(ticks)


def words_of(svg: str) -> set[str]:
    return {element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("text")}


def test_a_comparison_is_drawn_turn_by_turn_with_its_units() -> None:
    svg = plot(made([300, 200], [100, 100], says="ours < theirs & more"))
    assert {"figure: 2.50 ×", "things/s", "turn", "1", "2", "300", "ours < theirs & more"} <= words_of(svg)


def test_growth_is_drawn_over_its_sizes() -> None:
    points = [Point(x=x, values=[x * 2, x * 3]) for x in (1, 10, 100)]
    curve = Curve(name="deductions", unit="deductions/s", x_name="connections", points=points)
    svg = plot(made([300], [100], curves=[curve, curve]))
    assert {"deductions/s", "connections", "1", "10", "100"} <= words_of(svg)
    left, middle, right = places(curve)
    assert middle - left == pytest.approx(right - middle)
