"""Long-video metrics, each a torchmetrics metric."""
