"""Pictures for people: images, maps of time and difficulty, films, charts and progress bars."""
