"""The benchmarks are programs of the repository, not a part of the wheel."""

import sys
from pathlib import Path

# At the end of the path: an installed package is still found before the checkout.
sys.path.append(str(Path(__file__).parents[2]))
