"""The simulated clock: real time until a test moves it."""

import time


class Clock:
    """Seconds since the epoch; `Clock(at)` stands still at `at`, `Clock()` runs with real time."""

    def __init__(self, at: float | None = None) -> None:
        self._frozen_at = at
        self._offset_seconds = 0.0

    def __call__(self) -> float:
        """Return the time now."""
        if self._frozen_at is not None:
            return self._frozen_at
        return time.time() + self._offset_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock on, standing or running."""
        if self._frozen_at is not None:
            self._frozen_at += seconds
        else:
            self._offset_seconds += seconds

    def freeze(self, at: float | None = None) -> None:
        """Stand still at `at`, by default now."""
        self._frozen_at = self() if at is None else at
