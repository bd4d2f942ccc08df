"""The tests; support/ holds what they share, scripts/ what they run in processes of its own."""
