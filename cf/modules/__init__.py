"""Lightning modules: a network, its objective and its optimisers."""
