"""Programs that run in a process of their own, each with this folder before the library."""
