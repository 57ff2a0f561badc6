"""The only way to the network: ledger, then pace, budget and retries, then the provider."""
