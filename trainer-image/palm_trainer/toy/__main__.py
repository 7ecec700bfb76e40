"""``python -m palm_trainer.toy [--output DIR]``: the toy base model and its prompts."""

import argparse
import shutil
import sys
from pathlib import Path

from palm_trainer.toy.cache import cached_toy_model


def main() -> int:
    """Make the toy model where the cache has none; copy it to a folder where one is named."""
    parser = argparse.ArgumentParser(prog="palm_trainer.toy", description=__doc__)
    parser.add_argument("--output", type=Path, help="folder to copy it to")
    output: Path | None = parser.parse_args().output
    try:
        source = cached_toy_model()
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    if output is not None:
        shutil.copytree(source, output, dirs_exist_ok=True)
    print(f"toy base model and prompts are in {output or source}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
