"""The one error that the person at the keyboard is meant to read."""


class DevError(Exception):
    """Something went wrong that a person can act on; printed as it is, without a traceback."""
