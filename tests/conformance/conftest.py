"""The vendors' pages, which are not part of this repository."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.recorder import Recorder
from tests.end_to_end.product import Product

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def seeds() -> Path:
    """The folder with the pages as they were published."""
    folder = Path(os.environ.get("REAKTLY_SEEDS", ROOT.parent / "shared" / "seeds"))
    if not folder.is_dir():
        pytest.skip(
            f"!!!!! {folder} HAS NO PAGES OF THE VENDORS: THEIR SAMPLES WERE NOT RUN "
            "(REAKTLY_SEEDS names another folder)"
        )
    return folder


@pytest.fixture(scope="package")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A server with its worker, on the embedded default."""
    with Product(tmp_path_factory.mktemp("conformance")) as product:
        product.start_server()
        yield product


@pytest.fixture(scope="package")
def recorder(product: Product) -> Iterator[Recorder]:
    """What programs speak to in place of the vendors' hosts."""
    with Recorder(product.port) as recorder:
        yield recorder
