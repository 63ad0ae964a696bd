"""What turns a frame into a feature vector; always chosen by name."""
