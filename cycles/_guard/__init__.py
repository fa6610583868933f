"""How sections open and end, and how each shape of function runs in one; `Guard` itself is only a value.

It decides nothing: see `cycles._core`.
"""
