"""Notices: what people are told by mail, and the door to the service that sends it."""
