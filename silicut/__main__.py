"""`python -m silicut`, which is also what torchrun starts: `torchrun --nproc-per-node 2 -m silicut prune ...`."""

from silicut.cli import main

if __name__ == "__main__":
    main()
