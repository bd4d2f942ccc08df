"""Texts: what reads them, frozen encoders of them, and their embeddings on disk."""
