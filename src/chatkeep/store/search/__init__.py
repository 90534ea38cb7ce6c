"""Full-text search: what a query asks for, the index, and what is found."""
