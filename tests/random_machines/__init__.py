"""Random Windows machines, tried on genuine binaries, and a short rule for what has to happen."""
