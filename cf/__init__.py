"""Long-context video generation research: backbones, memories, distillation and benchmarks."""

__version__ = "0.1.0"
