"""Nudges on their way: Dramatiq messages on Redis that carry a job's id and nothing else.

A room of its own, because web, workers and scheduler all send them, import not one another, and the domain
knows no framework.  It imports the domain alone.
"""

from nudges.broker import NudgeBroker, make_broker, message_for
from nudges.nudger import Nudger

__all__ = ["NudgeBroker", "Nudger", "make_broker", "message_for"]
