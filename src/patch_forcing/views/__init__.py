"""What people look at: pictures of images, times and difficulties, charts, progress."""
