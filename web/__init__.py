"""HTTP in, HTTP out: parse, call the domain, answer."""
