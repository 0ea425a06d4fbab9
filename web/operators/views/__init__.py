"""The pages of /ops: each asks the domain and hands what it gets to a template."""
