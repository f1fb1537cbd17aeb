"""``python -m dutyline``: the same as the console script."""

from dutyline.main import main

main()
