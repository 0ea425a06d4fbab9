"""The service under test."""

import pytest

from tests.support.service import own_service, service, service_variables, workers

__all__ = ["own_service", "service", "service_variables", "workers"]


@pytest.fixture
def patient_throttle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is waited for as long as it takes: on a busy machine nothing is counted by one process alone."""
    monkeypatch.setattr("web.throttle.REQUEST_SECONDS_MAX", 60)
    monkeypatch.setattr("web.throttle.REDIS_SECONDS_MAX", 60)
