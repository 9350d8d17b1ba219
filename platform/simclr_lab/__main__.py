"""``python -m simclr_lab`` and the ``simclr-lab`` command."""

from simclr_lab.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
