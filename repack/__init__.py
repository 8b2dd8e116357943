"""Makes CUDA builds of opencv-python for Windows import on every Python, and proves it."""

__version__ = "0.1.0"
