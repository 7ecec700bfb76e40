"""``python -m palm_cli``, ``palm`` and ``kubectl-palm``."""

import sys


def main() -> None:
    """Run the command line; say what to install where its extra is not."""
    try:
        from palm_cli.app import app
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; the command line needs the extra cli: "
            "pip install 'palm-operator[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    app()


if __name__ == "__main__":
    main()
