"""How a `Guard` runs each shape of function. It decides nothing: see `cycles._core`."""
