"""Pages, tables, charts and TensorBoard of a benchmark."""
