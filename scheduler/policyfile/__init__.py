"""The policy file: weights, and what operators declare of clusters, tenants and maintenance."""
