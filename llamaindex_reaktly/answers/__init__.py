"""Answering questions from what a search finds."""
