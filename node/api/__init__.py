"""HTTP, and nothing else: server, limits, routes, problems."""
