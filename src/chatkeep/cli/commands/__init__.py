"""One module for each command, or for a group: `commands` has what it adds to `chatkeep`."""
