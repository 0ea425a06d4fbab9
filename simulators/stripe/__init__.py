"""A Stripe to run without Stripe: it speaks to the unmodified SDK through its base address."""

from simulators.stripe.clock import Clock
from simulators.stripe.simulator import DEFAULT_SECRET, StripeSimulator
from simulators.stripe.webhooks import sign

__all__ = ["DEFAULT_SECRET", "Clock", "StripeSimulator", "sign"]
