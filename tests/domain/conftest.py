"""A shop with a Stripe beside it."""

from tests.support.payments import shop

__all__ = ["shop"]
