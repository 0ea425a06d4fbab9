"""The arithmetic of figures, and that they can be measured."""
