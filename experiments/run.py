"""Run an experiment without installing the command: ``python experiments/run.py experiment=heart budget.money=200``."""

from scanwise.cli import main

if __name__ == "__main__":
    main()
