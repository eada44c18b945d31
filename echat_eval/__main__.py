"""`python -m echat_eval` is `echat-eval`."""

from echat_eval.cli import main

if __name__ == "__main__":
    main()
