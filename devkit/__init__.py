"""What `./dev` does: install, embedded servers, supervision, checks.

Standard library only: this package runs before anything is installed.
"""
