"""Redis does not answer."""


class QueuesUnavailable(Exception):
    """Redis does not answer: its queues cannot be seen.  Jobs are rows of PostgreSQL, and safe."""
