"""The Reaktly dialect (seeds 000 and 001), and what we add in the same idiom."""
