"""What is true about credits.  Plain synchronous functions over an open connection; no framework."""
