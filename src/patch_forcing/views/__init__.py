"""Pictures of images, times and difficulties."""
