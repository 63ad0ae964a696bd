"""Lets `python -m cf.weights` start."""

from cf.weights import main

if __name__ == "__main__":
    main()
