"""The clients that apps install, against the real service."""
