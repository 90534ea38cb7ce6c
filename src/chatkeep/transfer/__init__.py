"""Sessions as files: the export, and the import of our own and of other products' exports."""
