"""Networks of others, frozen: encoders of images."""
