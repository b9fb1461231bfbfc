"""Starts a server and lets Schemathesis loose on it.

Usage: python -m tests.conformance.fuzzing [--examples N] [option of schemathesis run]...
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conformance.fuzzing.hooks import DOCUMENT, KNOWLEDGE_BASE, ORGANISATION
from tests.end_to_end.product import Product, item

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# The documented limits are tested elsewhere; here they would end the run.
ENVIRONMENT = {"REAKTLY_RATE_LIMIT": "none"}


def main() -> int:
    """Run it; exit code 1 when there was a failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="requests an operation")
    options, others = parser.parse_known_args()
    with (
        tempfile.TemporaryDirectory(prefix="reaktly-fuzzing-") as directory,
        Product(Path(directory), **ENVIRONMENT) as product,
    ):
        key = product.make_key(KNOWLEDGE_BASE)
        product.start_server()
        product.shared_client.push(item(DOCUMENT, "Where to begin, and how to go on."), wait=True)
        # The first organisation that names a site has it.
        path = f"/organisations/{ORGANISATION}/ai-search/sites/{KNOWLEDGE_BASE}/pages"
        product.shared_client.ok(
            "POST", path, {"pages": [{"url": "/start", "content": "Start here."}]}
        )
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={CONFIGURATION}",
            "run",
            f"http://127.0.0.1:{product.port}/openapi.json",
            f"--max-examples={options.examples}",
            *others,
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "REAKTLY_FUZZING_KEY": key, "PYTHONPATH": str(Path.cwd())},
        )
        return done.returncode


if __name__ == "__main__":
    sys.exit(main())
