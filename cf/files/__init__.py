"""Files, written whole or not at all, and read in any encoding with file and line in each error."""
