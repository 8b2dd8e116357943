"""What an index and those who install from it need: pages, and files that pin what is installed."""
