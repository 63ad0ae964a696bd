"""From noise to video, block by block."""

import lazy_loader

# Names and their homes are in __init__.pyi; nothing is imported before it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
