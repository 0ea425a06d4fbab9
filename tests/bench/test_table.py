"""README's table is what the kept results give, and nobody's wish."""

from __future__ import annotations

import pytest

from bench.table import BEGIN, END, README, kept, number, section, table, written_into
from tests.bench.made import made


def test_readme_has_the_table_that_the_results_give() -> None:
    readme = README.read_text()
    assert written_into(readme, section(kept())) == readme, "./dev bench --table writes it"


def test_every_kept_result_is_right_and_has_its_picture() -> None:
    for figure in kept():
        assert not figure.is_wrong, figure.name
        assert (README.parent / f"bench/results/{figure.name}.svg").is_file(), figure.name


def test_a_row_has_value_range_sides_and_goals() -> None:
    figure = made([300, 200, 100], [100, 100, 100], must=1.5, aim=2)
    assert table([figure]).splitlines()[2] == (
        "| [what is measured](bench/results/figure.svg) | **2.00 ×** | 1.00 – 3.00"
        " | side 0: 200 things/s; side 1: 100 things/s | ≥ 1.5 × | ≥ 2 × |"
    )


def test_a_row_of_one_thing_alone_has_nothing_beside_it() -> None:
    figure = made([4.25, 4, 12345], must=5, higher_is_better=False)
    assert table([figure]).splitlines()[2] == (
        "| [what is measured](bench/results/figure.svg) | **4.25 things/s** | 4.00 – 12,345"
        " |  | ≤ 5 things/s |  |"
    )


def test_the_section_says_on_what_it_was_measured() -> None:
    assert "Measured 2026-11-22 on 2 cores (A processor), 8 GiB" in section([made([1])])


def test_the_section_goes_between_its_marks_and_nowhere_else() -> None:
    readme = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert written_into(readme, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="README has no"):
        written_into("no marks", "new")


@pytest.mark.parametrize(("value", "said"), [(0.456, "0.46"), (12.34, "12.3"), (9876.5, "9,876")])
def test_numbers_have_three_digits_that_say_something(value: float, said: str) -> None:
    assert number(value) == said
