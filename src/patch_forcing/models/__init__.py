"""Networks, and their folder format."""
