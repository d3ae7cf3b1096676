"""The networks, each in a file of its own, named and laid out as its paper has them."""
