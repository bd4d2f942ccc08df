"""`python -m patch_forcing` is the command `patch-forcing`."""

from patch_forcing.cli.main import main

main()
