"""Who may call: keys, tokens, cookies, tenants and their users."""
