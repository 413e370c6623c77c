"""`python -m broadwing` is `broadwing`."""

from broadwing.cli.main import app

if __name__ == "__main__":
    app()
