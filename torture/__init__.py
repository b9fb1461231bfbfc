"""Fault tests as a product: the real server, faults from outside, and an oracle that judges.

See README.md beside this file, and `python -m torture --help`.
"""
