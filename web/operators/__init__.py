"""Operators over HTTP: who is signed in, and their pages."""
