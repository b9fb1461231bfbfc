"""`python -m demo`: a small company's content, from documented pushes to search answers."""
