"""The routes, a module a room: parse, call, answer.  No SQL, no rules."""
