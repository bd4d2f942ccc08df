"""Makes the site of the pages: their links, the reference, the notebooks."""
