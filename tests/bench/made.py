"""Figures made by hand."""

from __future__ import annotations

from typing import Any

from bench.measure import Figure, Series

MACHINE = {
    "cores": "2",
    "processor": "A processor",
    "memory": "8 GiB",
    "postgresql": "18.1",
    "python": "3.11.7",
}


def made(*sides: list[float], **more: Any) -> Figure:
    """A figure of these turns, ratios included."""
    values: dict[str, Any] = {
        "name": "figure",
        "says": "what is measured",
        "series": [Series(name=f"side {at}", unit="things/s", values=side) for at, side in enumerate(sides)],
        "ratios": [a / b for a, b in zip(*sides, strict=True)] if len(sides) > 1 else [],
        "must": None,
        "aim": None,
        "higher_is_better": True,
        "checks": [],
        "measured_at": "2026-11-22T12:00:00+00:00",
        "machine": MACHINE,
    }
    return Figure(**(values | more))
