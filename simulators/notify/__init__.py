"""A mana-notify: accepts notifications, sends each once, shows what was sent."""

from simulators.notify.simulator import NotifySimulator

__all__ = ["NotifySimulator"]
