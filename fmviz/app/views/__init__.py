"""One widget a file: plain values in by setters, what the user did out by signals."""
