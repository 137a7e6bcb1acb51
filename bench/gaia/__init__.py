"""The GAIA case (ASPLOS 2024): a thousand jobs, one grid's carbon, the paper's own accounting."""
