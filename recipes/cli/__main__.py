"""`python -m recipes.cli` is `align`."""

from recipes.cli.app import main

main()
