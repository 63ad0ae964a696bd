"""Long-context video generation research: backbones, memories, distillation and benchmarks."""

import sys

__version__ = "0.1.0"

# For `python -m cf.fit` Python looks first where one works: there, random.py or yaml.py would stand
# for the library that all use. Classes of one's own are found there all the same; a checkout stays.
_as_module = sys.argv[:1] == ["-m"] and not sys.flags.safe_path
if _as_module and __file__ != f"{sys.path[0]}/cf/__init__.py":
    sys.path.append(sys.path.pop(0))
