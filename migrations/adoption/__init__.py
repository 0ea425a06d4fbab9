"""Adopting a database of the old service: read, reported, migrated in steps, and proven.

`python -m migrations.adoption DATABASE_URL` reads and reports; with `--apply` it migrates.  docs/adopting.md
tells the order of things, and the way back.
"""
