"""The operators' command line: `python -m domain.operators`, on DATABASE_URL.

Whoever has the database's address may do everything; the audit names them `shell:` and the system's user.
"""
