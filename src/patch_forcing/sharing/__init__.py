"""Models for others: the folder that is uploaded to the Hub, and the card in it."""
