"""Autoencoders: images ↔ latents."""
