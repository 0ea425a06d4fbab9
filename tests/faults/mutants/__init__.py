"""Deliberate bugs, one at a time, and who catches each.  `./dev mutants`."""
