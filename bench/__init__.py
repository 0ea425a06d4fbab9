"""What the figures in README come from: `./dev bench`.  Never a test: a figure is a ratio, measured here."""
