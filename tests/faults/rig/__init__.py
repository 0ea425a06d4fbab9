"""The fault rig: the whole system as processes, a mixed load, and a schedule of faults.  `./dev faults`."""
