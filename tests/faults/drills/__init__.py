"""Drills: the whole system under the rig's load while its clock is set, it is upgraded, or it simply goes on."""
