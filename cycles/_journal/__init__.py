"""The directory of records on disk: files, locks, claims, the writer, quarantine, recovery. It asks no authority."""
