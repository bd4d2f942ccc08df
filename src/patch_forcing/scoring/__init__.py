"""From a model, a folder or an array to numbers with their recipe: images, features, metrics."""
