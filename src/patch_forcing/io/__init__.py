"""Files on disk and on the Hub. Nothing here knows a neural network."""
