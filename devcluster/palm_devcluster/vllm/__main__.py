"""``python -m palm_devcluster.vllm``: have vLLM where that is possible; say where, or why not."""

import sys

from palm_devcluster.golang import BuildError
from palm_devcluster.vllm.environment import VllmUnavailable, ensure


def main() -> int:
    """Return the exit code: 0 also where this machine cannot have vLLM."""
    try:
        print(f"vLLM: {ensure(lambda text: print(text, flush=True))}")
    except VllmUnavailable as reason:
        print(f"no vLLM: {reason}; transformers serve instead", file=sys.stderr)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
