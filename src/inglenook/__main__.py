"""`python -m inglenook` is the `inglenook` program."""

from inglenook.cli.main import main

if __name__ == "__main__":
    main()
