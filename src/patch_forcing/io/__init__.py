"""Files: atomic writes, checksums, provenance, how a run lies on disk, the Hub; no network."""
