"""The local web page on which people decide of labels and of new products, picture by picture."""
