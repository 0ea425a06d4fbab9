"""The service under test."""

from tests.support.service import own_service, service, service_variables, workers

__all__ = ["own_service", "service", "service_variables", "workers"]
