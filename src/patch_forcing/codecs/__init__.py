"""Networks of others, frozen: autoencoders (images ↔ latents), and encoders of images."""
