"""The documentation, held to the product: what a page shows is run, what a table says is compared."""
