"""Files: atomic writes, checksums, provenance, the Hub. Knows no network."""
