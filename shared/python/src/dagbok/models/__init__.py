"""What tasks look up: variables, connections, hooks, configuration."""
