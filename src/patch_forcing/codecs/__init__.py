"""Autoencoders of others, frozen: images ↔ latents."""
