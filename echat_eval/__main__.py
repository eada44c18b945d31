"""Run `echat-eval` as `python -m echat_eval`."""

from echat_eval.cli import main

if __name__ == "__main__":
    main()
