"""The settlement journal: spend that happened and is not settled yet, kept as files. It asks no authority."""
