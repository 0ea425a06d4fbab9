"""The service under test."""

from tests.support.service import service, workers

__all__ = ["service", "workers"]
