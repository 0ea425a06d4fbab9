"""What machines read of the service: the list of its metrics, how they are shown, and traces."""
