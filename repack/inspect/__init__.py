"""Looks through a wheel: which DLLs it needs, of which CUDA, and what should be said of it."""
