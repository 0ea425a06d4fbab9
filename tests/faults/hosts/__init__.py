"""The service on several hosts, which are network namespaces, cut off and brought back.  `./dev hosts`."""
