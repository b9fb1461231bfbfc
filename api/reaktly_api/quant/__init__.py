"""The Quant Search dialect (seed 002, and what its vendor's clients do), and what we add."""

from reaktly_api.quant import pages, sites

OPERATIONS = (*pages.OPERATIONS, *sites.OPERATIONS)
