"""What docs/production.md promises, on real parts: a pooler, systemd's and Kubernetes' files, a restore."""
