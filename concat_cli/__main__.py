"""`python -m concat_cli`, which torchrun and SLURM start."""

from concat_cli.app import main

if __name__ == "__main__":
    main()
