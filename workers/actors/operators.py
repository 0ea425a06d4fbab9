"""What operators ask for that is work of its own: the rest they ask for are jobs of other rooms."""

from __future__ import annotations

from domain.jobs import Handler, Once
from domain.operators.rebuilding import RebuildUsageStatistics, rebuild
from workers.parts import Parts


def handlers(_parts: Parts) -> list[Handler]:
    """Touches the database alone."""
    return [Once(RebuildUsageStatistics, rebuild)]
